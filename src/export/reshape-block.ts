import { type Box, wholeBox } from "../core/box.ts";
import { boxRuns } from "../core/box-runs.ts";
import type { Block } from "../checkpoint/assemble.ts";
import { at, numel, type Shape, shapesEqual } from "../core/shape.ts";
import { reshapeOf, sliceOf } from "./relayout.ts";

/**
 * A block of a tensor of the shape `from`, as blocks of the same tensor in the shape `to`: one, unless the block ends inside of what becomes
 * an axis.
 */
export function reshapeBlock({ box, expr }: Block, from: Shape, to: Shape): readonly Block[] {
	if (shapesEqual(box.size, from)) return [{ box: wholeBox(to), expr: reshapeOf(expr, to) }];
	const groups = groupAxes(from, to);
	const flat = reshapeOf(
		expr,
		groups.map(({ from: [start, end] }) => numel(box.size.slice(start, end))),
	);
	let blocks: readonly Block[] = [{ box: { offset: [], size: [] }, expr: flat }];
	groups.forEach((group, axis) => {
		const stretches = stretchesOf(box, from, to, group);
		blocks = blocks.flatMap((block) =>
			stretches.map(({ start, box: own }) => ({
				box: {
					offset: [...block.box.offset, ...own.offset],
					size: [...block.box.size, ...own.size],
				},
				expr: sliceOf(block.expr, axis, start, start + numel(own.size)),
			})),
		);
	});
	return blocks.map((block) => ({ ...block, expr: reshapeOf(block.expr, block.box.size) }));
}

/** Neighbouring axes of two shapes that have as many elements; half-open. */
interface AxisGroup {
	readonly from: readonly [start: number, end: number];
	readonly to: readonly [start: number, end: number];
}

/** The smallest groups that both shapes fall apart into. Neither has a size of 0. */
function groupAxes(from: Shape, to: Shape): readonly AxisGroup[] {
	const groups: AxisGroup[] = [];
	let [i, j] = [0, 0];
	while (i < from.length || j < to.length) {
		const [first, other] = [i, j];
		let left = from[i++] ?? 1;
		let right = to[j++] ?? 1;
		while (left !== right) {
			if (left < right) left *= at(from, i++);
			else right *= at(to, j++);
		}
		groups.push({
			from: [first, Math.min(i, from.length)],
			to: [other, Math.min(j, to.length)],
		});
	}
	return groups;
}

/** A block of the axes of a group, and where its elements begin among those of the block that was reshaped. */
interface Stretch {
	readonly start: number;
	readonly box: Box;
}

function stretchesOf(box: Box, from: Shape, to: Shape, group: AxisGroup): readonly Stretch[] {
	const shape = to.slice(...group.to);
	const part = {
		offset: box.offset.slice(...group.from),
		size: box.size.slice(...group.from),
	};
	const stretches: Stretch[] = [];
	let start = 0;
	for (const run of boxRuns(wholeBox(from.slice(...group.from)), part)) {
		for (const own of boxesOfRange(shape, run.start, run.start + run.length)) {
			stretches.push({ start, box: own });
			start += numel(own.size);
		}
	}
	return stretches;
}

/** Elements `[start, end)` of a tensor in row-major order, as blocks that follow one another. `start < end`. */
function boxesOfRange(shape: Shape, start: number, end: number): readonly Box[] {
	if (shape.length === 0) return [{ offset: [], size: [] }];
	const inner = shape.slice(1);
	const row = numel(inner);
	const boxes: Box[] = [];
	let begin = start;
	while (begin < end) {
		const first = Math.floor(begin / row);
		const isAtRow = begin === first * row;
		const rows = isAtRow ? Math.floor((end - begin) / row) : 0;
		if (rows > 0) {
			boxes.push({ offset: [first, ...inner.map(() => 0)], size: [rows, ...inner] });
			begin += rows * row;
			continue;
		}
		const stop = Math.min(end, (first + 1) * row);
		for (const { offset, size } of boxesOfRange(inner, begin - first * row, stop - first * row)) {
			boxes.push({ offset: [first, ...offset], size: [1, ...size] });
		}
		begin = stop;
	}
	return boxes;
}
