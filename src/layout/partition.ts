import { type Box, boxNumel, formatBox, intersectBoxes } from "../core/box.ts";
import { at, formatShape, numel, type Shape } from "../core/shape.ts";
import { layoutInvalid } from "./invalid.ts";

/**
 * Proves that blocks cover a tensor without a hole and without overlap.
 *
 * @param where - Who says so, for the message: `/ckpt/step-1`.
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when they do not.
 */
export function assertPartition(
	fqn: string,
	shape: Shape,
	boxes: readonly Box[],
	where: string,
): void {
	const overlap = findOverlap(boxes);
	if (overlap !== undefined) {
		const [first, second] = overlap;
		throw layoutInvalid(
			`${where}: the blocks ${formatBox(first)} and ${formatBox(second)} of ${fqn} overlap`,
			"The job that this layout is of could not save and load a checkpoint: no element may be in two different blocks.",
			{ fqn, shape, first, second },
		);
	}
	const whole = numel(shape);
	const covered = boxes.reduce((sum, box) => sum + boxNumel(box), 0);
	if (covered === whole) return;
	throw layoutInvalid(
		`${where}: the blocks of ${fqn} ${formatShape(shape)} hold ${covered} of its ${whole} elements`,
		"A layout must say of every element who holds it: check that it lists the blocks of all ranks.",
		{ fqn, shape, covered },
	);
}

/** Two of `boxes` that share elements. Looks along the axis with the most cuts, so that few are open at once. */
export function findOverlap(boxes: readonly Box[]): readonly [Box, Box] | undefined {
	const [first] = boxes;
	if (first === undefined || boxes.length === 1) return undefined;
	const axes = first.size.map((_, axis) => new Set(boxes.map((box) => at(box.offset, axis))).size);
	const axis = axes.indexOf(Math.max(...axes));
	if (axis === -1) return [first, at(boxes, 1)];
	const sorted = boxes.toSorted((a, b) => at(a.offset, axis) - at(b.offset, axis));
	let open: Box[] = [];
	for (const box of sorted) {
		const start = at(box.offset, axis);
		open = open.filter((other) => at(other.offset, axis) + at(other.size, axis) > start);
		const hit = open.find((other) => intersectBoxes(other, box) !== undefined);
		if (hit !== undefined) return [hit, box];
		open.push(box);
	}
	return undefined;
}
