import { invariant } from "../core/errors.ts";
import type { DequantDim, DequantPiece, GatherPiece, PieceDim } from "../core/ports.ts";
import { at } from "../core/shape.ts";

/** Which side of a piece leaves a staged range: a stride of its loops. */
export type StrideOf = (dim: PieceDim | DequantDim) => number;

/** From one element of the source to the next. */
export const sourceStride: StrideOf = (dim) => dim.sourceStride;

/** From one scale to the next; 0 where there are none. */
export const scaleStride: StrideOf = (dim) => ("scaleStride" in dim ? dim.scaleStride : 0);

/**
 * Cuts the loop with the longest stride behind the last index that stays within `room` of the first element, or scale. At least one
 * index is taken, so that what comes first may have to be cut again.
 */
export function splitPiece<P extends GatherPiece | DequantPiece>(
	piece: P,
	room: number,
	strideOf: StrideOf,
): [rest: P, first: P] {
	const dims: readonly PieceDim[] = piece.dims;
	let axis = 0;
	dims.forEach((dim, d) => {
		if (strideOf(dim) > strideOf(at(dims, axis))) axis = d;
	});
	const dim = dims[axis];
	invariant(
		dim !== undefined && dim.size > 1 && strideOf(dim) > 0,
		`an element of ${piece.source} is not staged`,
	);
	const inner = dims.reduce((sum, other, d) => {
		return d === axis ? sum : sum + strideOf(other) * (other.size - 1);
	}, 0);
	const fitting = Math.floor((room - inner) / strideOf(dim)) + 1;
	const count = Math.max(1, Math.min(dim.size - 1, fitting));
	return [takeIndices(piece, axis, count, dim.size - count), takeIndices(piece, axis, 0, count)];
}

/** The indices `[first, first + count)` of one loop alone. */
function takeIndices<P extends GatherPiece | DequantPiece>(
	piece: P,
	axis: number,
	first: number,
	count: number,
): P {
	const dims: readonly PieceDim[] = piece.dims;
	const dim = at(dims, axis);
	return {
		...piece,
		sourceOffset: piece.sourceOffset + first * dim.sourceStride,
		targetOffset: piece.targetOffset + first * dim.targetStride,
		...(piece.kind === "dequant" && {
			scaleOffset: piece.scaleOffset + first * scaleStride(dim),
		}),
		dims: count === 1 ? dims.toSpliced(axis, 1) : dims.with(axis, { ...dim, size: count }),
	};
}
