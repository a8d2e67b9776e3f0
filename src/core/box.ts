import { at, numel, type Shape } from "./shape.ts";

/** An axis-aligned block of a tensor: `size[d]` elements from `offset[d]` on, per dimension. */
export interface Box {
	readonly offset: readonly number[];
	readonly size: Shape;
}

/** The box that is all of a tensor of `shape`. */
export function wholeBox(shape: Shape): Box {
	return { offset: shape.map(() => 0), size: shape };
}

/** Number of elements in `box`. */
export function boxNumel(box: Box): number {
	return numel(box.size);
}

/** Whether two boxes cover the same elements in the same place. */
export function boxesEqual(a: Box, b: Box): boolean {
	return boxKey(a) === boxKey(b);
}

/** A string that two boxes share exactly when they are equal. */
export function boxKey(box: Box): string {
	return `${box.offset.join(",")}/${box.size.join(",")}`;
}

/** The part of `a` that lies in `b`, or `undefined` when they share no element. Both have the same rank. */
export function intersectBoxes(a: Box, b: Box): Box | undefined {
	const offset: number[] = [];
	const size: number[] = [];
	for (let axis = 0; axis < a.size.length; axis++) {
		const start = Math.max(at(a.offset, axis), at(b.offset, axis));
		const end = Math.min(
			at(a.offset, axis) + at(a.size, axis),
			at(b.offset, axis) + at(b.size, axis),
		);
		if (end <= start) return undefined;
		offset.push(start);
		size.push(end - start);
	}
	return { offset, size };
}

/** The smallest box that holds all of `boxes`, of which there is at least one; all have the same rank. */
export function boundingBox(boxes: readonly Box[]): Box {
	const first = at(boxes, 0);
	const offset = [...first.offset];
	const end = first.size.map((size, axis) => at(first.offset, axis) + size);
	for (const box of boxes) {
		for (let axis = 0; axis < offset.length; axis++) {
			const start = at(box.offset, axis);
			offset[axis] = Math.min(at(offset, axis), start);
			end[axis] = Math.max(at(end, axis), start + at(box.size, axis));
		}
	}
	return { offset, size: end.map((stop, axis) => stop - at(offset, axis)) };
}

/** `[0:4, 8:16]` for messages; half-open. */
export function formatBox(box: Box): string {
	const spans = box.offset.map((start, axis) => `${start}:${start + at(box.size, axis)}`);
	return `[${spans.join(", ")}]`;
}
