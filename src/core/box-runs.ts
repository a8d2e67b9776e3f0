import type { Box } from "./box.ts";
import { at, contiguousStrides } from "./shape.ts";

/** Elements `start` up to but not including `start + length` of a box's elements in row-major order. */
export interface BoxRun {
	readonly start: number;
	readonly length: number;
}

/**
 * Where the elements of `part` lie among those of `whole`, both in row-major order: runs that follow one another in `part`, neighbours
 * merged. One run when `part` is a contiguous stretch of `whole`.
 *
 * @param whole - Contains `part`.
 * @param skip - Elements of `part` that are passed over; less than it has.
 * @yields the runs in ascending order; none when `part` has no elements.
 */
export function* boxRuns(whole: Box, part: Box, skip: number = 0): Generator<BoxRun> {
	if (part.size.includes(0)) return;
	const strides = contiguousStrides(whole.size);
	// Axes inside of `inner` are whole, so that one index of it and all that follow are one stretch.
	let inner = part.size.length - 1;
	while (inner > 0 && at(part.size, inner) === at(whole.size, inner)) inner--;
	const length = inner < 0 ? 1 : at(part.size, inner) * at(strides, inner);
	const first = strides.reduce(
		(sum, stride, d) => sum + (at(part.offset, d) - at(whole.offset, d)) * stride,
		0,
	);
	const index = Array.from({ length: Math.max(inner, 0) }, () => 0);
	let start = first;
	let passed = Math.floor(skip / length);
	for (let axis = index.length - 1; axis >= 0; axis--) {
		const size = at(part.size, axis);
		index[axis] = passed % size;
		start += (passed % size) * at(strides, axis);
		passed = Math.floor(passed / size);
	}
	let cut = skip % length;
	for (;;) {
		yield { start: start + cut, length: length - cut };
		cut = 0;
		let axis = index.length - 1;
		for (; axis >= 0; axis--) {
			const next = at(index, axis) + 1;
			start += at(strides, axis);
			if (next < at(part.size, axis)) {
				index[axis] = next;
				break;
			}
			start -= next * at(strides, axis);
			index[axis] = 0;
		}
		if (axis < 0) return;
	}
}
