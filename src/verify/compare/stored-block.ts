import type { Box } from "../../core/box.ts";
import type { Dtype } from "../../core/dtype.ts";
import { at, contiguousStrides } from "../../core/shape.ts";

/** A block of a tensor that a checkpoint has. */
export interface StoredBlock {
	readonly fqn: string;
	readonly dtype: Dtype;
	/** Its axes are in the order of {@link order}. */
	readonly box: Box;
	/** Which axis of the tensor each axis of `box` is: outermost in memory first. Ascending, but for what was not contiguous when it was saved. */
	readonly order: readonly number[];
	/** Relative to the checkpoint's directory. */
	readonly file: string;
}

/** A block, and where exactly its elements are. */
export interface PlacedBlock extends StoredBlock {
	/** Byte of the file at which the elements of `box` begin, row-major. */
	readonly begin: number;
}

/** Elements that follow one another, in a block and in a part of it. */
export interface StoredRun {
	/** The first of them, in the row-major order of the block. */
	readonly element: number;
	readonly length: number;
}

/**
 * Where elements `start` up to but not including `end` of `part`, in its row-major order, lie among those of `whole`.
 *
 * @param whole - Contains `part`.
 * @yields runs that follow one another in `part`.
 */
export function* storedRuns(
	whole: Box,
	part: Box,
	start: number,
	end: number,
): Generator<StoredRun> {
	const strides = contiguousStrides(whole.size);
	// Inside of axis `inner` the part is as wide as the whole, so that what it has of one index of the axes before is one run.
	let inner = Math.max(part.size.length - 1, 0);
	while (inner > 0 && at(part.size, inner) === at(whole.size, inner)) inner--;
	const runLength = part.size.length === 0 ? 1 : at(part.size, inner) * at(strides, inner);
	const first = strides.reduce(
		(sum, stride, d) => sum + (at(part.offset, d) - at(whole.offset, d)) * stride,
		0,
	);
	for (let element = start; element < end;) {
		let run = Math.floor(element / runLength);
		const skipped = element - run * runLength;
		let place = first + skipped;
		for (let axis = inner - 1; axis >= 0; axis--) {
			const size = at(part.size, axis);
			place += (run % size) * at(strides, axis);
			run = Math.floor(run / size);
		}
		const length = Math.min(end - element, runLength - skipped);
		yield { element: place, length };
		element += length;
	}
}

/** The index in the whole tensor of element `element` of a block, axes in the order of the tensor. */
export function indexIn({ box, order }: StoredBlock, element: number): readonly number[] {
	const index = box.size.map(() => 0);
	let rest = element;
	for (let d = box.size.length - 1; d >= 0; d--) {
		const size = at(box.size, d);
		index[at(order, d)] = at(box.offset, d) + (rest % size);
		rest = Math.floor(rest / size);
	}
	return index;
}
