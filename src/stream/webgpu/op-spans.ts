import { itemBytes } from "../../core/dtype.ts";
import type { DequantOp, ReshardOp } from "../../core/ports.ts";
import { SCALE_BYTES } from "../../core/quantisation.ts";
import { elementBits, scaleSpanOf, spanOf } from "../../plan/hulls.ts";
import type { Span } from "./coverage.ts";

/**
 * Staging bytes that an op reads, at most: from its first element to its last, and, where it dequantises, from its first scale to its
 * last.
 */
export function spansOf(op: ReshardOp): readonly Span[] {
	const { piece, stagingOffset: start } = op;
	if (piece.kind === "fill" || countOf(op) === 0) return [];
	const bits = elementBits(piece);
	const lead = (piece.sourceOffset * bits) % 8;
	const elements = { start, end: start + Math.ceil((lead + (spanOf(piece.dims) + 1) * bits) / 8) };
	if (piece.kind === "gather") return [elements];
	const { scaleStagingOffset: first } = op as DequantOp;
	const scaleBytes = (scaleSpanOf(piece.dims) + 1) * SCALE_BYTES[piece.scaleCodec];
	return [elements, { start: first, end: first + scaleBytes }];
}

/** Elements of the target that an op makes. */
export function countOf({ piece }: ReshardOp): number {
	const dims: readonly { readonly size: number }[] = piece.dims;
	return dims.reduce((product, { size }) => product * size, 1);
}

/** Bytes of the target that an op makes. */
export function targetBytesOf(op: ReshardOp): number {
	return countOf(op) * itemBytes(op.piece.targetDtype);
}
