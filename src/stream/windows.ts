import { type Box, boxNumel } from "../core/box.ts";
import { at, contiguousStrides } from "../core/shape.ts";

/** Where windows end when they can: at multiples of `elements`, counted from the first element of `whole`, which contains the box. */
export interface WindowGrid {
	readonly whole: Box;
	readonly elements: number;
}

/**
 * Cuts a box into blocks of at most `maxElements`, in row-major order, each a contiguous stretch of the box's elements:
 * outer axes one index at a time, one axis in steps, inner axes whole.
 *
 * @param grid - Blocks end on it where enough rows fit into `maxElements` and nothing but single rows lies outside the steps.
 * @yields the blocks, one after the other.
 */
export function* windowsOf(box: Box, maxElements: number, grid?: WindowGrid): Generator<Box> {
	if (boxNumel(box) <= maxElements) {
		yield box;
		return;
	}
	const strides = contiguousStrides(box.size);
	const axis = strides.findIndex((stride) => stride <= maxElements);
	const stride = at(strides, axis);
	const unit = grid === undefined ? 1 : grid.elements / gcd(grid.elements, stride);
	const origin = grid === undefined ? 0 : at(grid.whole.offset, axis);
	yield* cutFrom(box, 0, { axis, rows: Math.floor(maxElements / stride), unit, origin });
}

/** How the stepped axis is cut: at most `rows` at a time, up to a multiple of `unit` from index `origin` where one is in reach. */
interface Steps {
	readonly axis: number;
	readonly rows: number;
	readonly unit: number;
	readonly origin: number;
}

function* cutFrom(box: Box, axis: number, steps: Steps): Generator<Box> {
	const end = at(box.offset, axis) + at(box.size, axis);
	for (let first = at(box.offset, axis); first < end;) {
		const next = axis === steps.axis ? stepEnd(first, end, steps) : first + 1;
		const part = { offset: box.offset.with(axis, first), size: box.size.with(axis, next - first) };
		if (axis === steps.axis) yield part;
		else yield* cutFrom(part, axis + 1, steps);
		first = next;
	}
}

function stepEnd(first: number, end: number, { rows, unit, origin }: Steps): number {
	const furthest = first + rows;
	if (furthest >= end) return end;
	const onGrid = origin + Math.floor((furthest - origin) / unit) * unit;
	return onGrid > first ? onGrid : furthest;
}

function gcd(a: number, b: number): number {
	return b === 0 ? a : gcd(b, a % b);
}

/** Row-major position of `part`'s first element among the elements of `whole`, which contains it. */
export function placeIn(whole: Box, part: Box): number {
	return contiguousStrides(whole.size).reduce(
		(place, stride, axis) => place + (at(part.offset, axis) - at(whole.offset, axis)) * stride,
		0,
	);
}
