import { itemBytes } from "../core/dtype.ts";
import type { Piece, ReshardOp } from "../core/ports.ts";

/** A stretch of staging memory that is a stretch of the target as it stands. */
export interface DirectRun {
	readonly start: number;
	readonly end: number;
}

/** Shorter runs are gathered first: a write costs more than a copy of this much. */
export const MIN_RUN_BYTES: number = 64 * 1024;

/** Length of a piece whose source bytes are its target bytes as they stand; `undefined` for any other piece. */
export function contiguousBytes(piece: Piece): number | undefined {
	if (piece.kind !== "gather" || piece.sourceDtype !== piece.targetDtype) return undefined;
	const [dim, ...more] = piece.dims;
	const isRun = dim === undefined || (dim.sourceStride === 1 && dim.targetStride === 1);
	if (!isRun || more.length > 0) return undefined;
	return (dim?.size ?? 1) * itemBytes(piece.targetDtype);
}

/**
 * The staging bytes that, one after the other, are the target of `ops`; `undefined` when bytes must be moved or converted
 * first, or lie in runs so short that one write each would cost more than gathering them.
 */
export function directRuns(ops: readonly ReshardOp[]): readonly DirectRun[] | undefined {
	const runs: (DirectRun & { readonly target: number })[] = [];
	for (const { piece, stagingOffset } of ops) {
		const length = contiguousBytes(piece);
		if (length === undefined || (length < MIN_RUN_BYTES && ops.length > 1)) return undefined;
		runs.push({ start: stagingOffset, end: stagingOffset + length, target: piece.targetOffset });
	}
	return runs.toSorted((a, b) => a.target - b.target);
}
