import { type Box, boxNumel } from "../core/box.ts";
import { at, contiguousStrides } from "../core/shape.ts";

/**
 * Cuts a box into blocks of at most `maxElements`, in row-major order, each a contiguous stretch of the box's elements:
 * outer axes one index at a time, one axis in steps, inner axes whole.
 *
 * @yields the blocks, one after the other.
 */
export function* windowsOf(box: Box, maxElements: number): Generator<Box> {
	if (boxNumel(box) <= maxElements) {
		yield box;
		return;
	}
	const strides = contiguousStrides(box.size);
	const stepped = strides.findIndex((stride) => stride <= maxElements);
	const step = Math.floor(maxElements / at(strides, stepped));
	yield* cutFrom(box, 0, stepped, step);
}

function* cutFrom(box: Box, axis: number, stepped: number, step: number): Generator<Box> {
	const start = at(box.offset, axis);
	const end = start + at(box.size, axis);
	const length = axis === stepped ? step : 1;
	for (let first = start; first < end; first += length) {
		const part = {
			offset: box.offset.with(axis, first),
			size: box.size.with(axis, Math.min(length, end - first)),
		};
		if (axis === stepped) yield part;
		else yield* cutFrom(part, axis + 1, stepped, step);
	}
}

/** Row-major position of `part`'s first element among the elements of `whole`, which contains it. */
export function placeIn(whole: Box, part: Box): number {
	return contiguousStrides(whole.size).reduce(
		(place, stride, axis) => place + (at(part.offset, axis) - at(whole.offset, axis)) * stride,
		0,
	);
}
