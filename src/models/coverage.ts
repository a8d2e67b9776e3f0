import { type Box, boxNumel, intersectBoxes, wholeBox } from "../core/box.ts";
import type { Expr } from "../core/expr.ts";
import { at, numel, shapesEqual } from "../core/shape.ts";

/** Part of one source tensor that an expression reads. */
interface Use {
	readonly source: string;
	/** Elements read. */
	readonly count: number;
	/** Which; `undefined` when they are no box of the source. */
	readonly box: Box | undefined;
}

/** How often the elements of one source tensor are used. */
export interface SourceUse {
	/** Elements read in all, repetitions counted. */
	readonly count: number;
	/** Whether two uses are seen to overlap. */
	readonly overlaps: boolean;
}

/** What `exprs` together read of every source tensor, by name. */
export function usesOf(exprs: readonly Expr[]): ReadonlyMap<string, SourceUse> {
	const uses = new Map<string, Use[]>();
	for (const expr of exprs) {
		for (const use of usesIn(expr, wholeBox(expr.shape))) {
			const list = uses.get(use.source);
			if (list === undefined) uses.set(use.source, [use]);
			else list.push(use);
		}
	}
	return new Map([...uses].map(([name, list]) => [name, summarise(list)]));
}

function summarise(uses: readonly Use[]): SourceUse {
	const boxes = uses.flatMap(({ box }) => box ?? []);
	return {
		count: uses.reduce((sum, use) => sum + use.count, 0),
		overlaps: boxes.some((a, i) => boxes.slice(i + 1).some((b) => intersectBoxes(a, b))),
	};
}

/** What one box of the value of `expr` reads. */
function usesIn(expr: Expr, box: Box): readonly Use[] {
	switch (expr.kind) {
		case "source":
			return [{ source: expr.name, count: boxNumel(box), box }];
		case "fill":
			return [];
		case "cast":
			return usesIn(expr.of, box);
		case "slice":
			return usesIn(expr.of, {
				offset: box.offset.map((start, d) => (d === expr.axis ? start + expr.start : start)),
				size: box.size,
			});
		case "permute": {
			const inverse = expr.axes.map((_, axis) => expr.axes.indexOf(axis));
			return usesIn(expr.of, {
				offset: inverse.map((axis) => at(box.offset, axis)),
				size: inverse.map((axis) => at(box.size, axis)),
			});
		}
		case "reshape":
			return usesInReshape(expr.of, expr.shape, box);
		case "concat":
			return usesInParts(
				expr.parts.map((part) => ({ part, length: at(part.shape, expr.axis) })),
				expr.axis,
				box,
				(part, inner) => usesIn(part, inner),
			);
		case "stack":
			return usesInParts(
				expr.parts.map((part) => ({ part, length: 1 })),
				expr.axis,
				box,
				(part, inner) =>
					usesIn(part, {
						offset: inner.offset.toSpliced(expr.axis, 1),
						size: inner.size.toSpliced(expr.axis, 1),
					}),
			);
		case "dequant": {
			// A scale may serve elements of several parts, each of which counts for its share of it.
			const share = boxNumel(box) / Math.max(1, numel(expr.shape));
			return [expr.weight, expr.scales].map(({ name, shape }) => ({
				source: name,
				count: numel(shape) * share,
				box: undefined,
			}));
		}
		default:
			return expr satisfies never;
	}
}

function usesInReshape(of: Expr, shape: readonly number[], box: Box): readonly Use[] {
	if (shapesEqual(box.size, shape)) return usesIn(of, wholeBox(of.shape));
	// A part of a reshaped tensor is in general no box of it: its elements are counted, not placed, which is exact as long as
	// one source lies below.
	const share = boxNumel(box) / numel(shape);
	return usesIn(of, wholeBox(of.shape)).map(({ source, count }) => ({
		source,
		count: count * share,
		box: undefined,
	}));
}

function usesInParts(
	parts: readonly { readonly part: Expr; readonly length: number }[],
	axis: number,
	box: Box,
	visit: (part: Expr, inner: Box) => readonly Use[],
): readonly Use[] {
	const uses: Use[] = [];
	let start = 0;
	for (const { part, length } of parts) {
		const slab = {
			offset: box.offset.map((offset, d) => (d === axis ? start : offset)),
			size: box.size.map((size, d) => (d === axis ? length : size)),
		};
		const inside = intersectBoxes(box, slab);
		if (inside !== undefined) {
			const offset = inside.offset.map((first, d) => (d === axis ? first - start : first));
			uses.push(...visit(part, { offset, size: inside.size }));
		}
		start += length;
	}
	return uses;
}
