import { itemBytes } from "../../core/dtype.ts";
import type { DequantOp, MoveOp, ReshardOp } from "../../core/ports.ts";
import { SCALE_BYTES } from "../../core/quantisation.ts";
import { at } from "../../core/shape.ts";
import { elementBits, scaleSpanOf, spanOf } from "../../plan/hulls.ts";
import { scaleStride, sourceStride, splitPiece } from "../split-piece.ts";
import type { Span } from "./coverage.ts";
import { spansOf } from "./op-spans.ts";

/** Staging bytes, and where in the device's source buffer they lie. */
export interface PlacedSpan extends Span {
	readonly place: number;
}

/** Ops that run together. */
export interface Batch {
	/** Their staging offsets are places in the source buffer. */
	readonly ops: readonly ReshardOp[];
	/** The same ops, or parts of ops, with their offsets in staging memory. */
	readonly originals: readonly ReshardOp[];
	/** What of the staging memory has to be in the source buffer. */
	readonly spans: readonly PlacedSpan[];
}

/** The batches for ops, and what is too large for any. */
export interface Batches {
	readonly batches: readonly Batch[];
	/**
	 * Whether staging memory lies in the source buffer at its own offsets: there is one batch then, and what was uploaded for an earlier
	 * one is still there.
	 */
	readonly isWhole: boolean;
	readonly tooLarge: readonly ReshardOp[];
}

/** Copies between buffers begin and end at multiples of this. */
const ALIGNMENT_BYTES = 4;

/** Parts that one op is cut into at most. */
const MAX_PARTS = 1024;

/**
 * Divides ops into batches whose source bytes fit into `room`. Where all of the staging memory fits, there is one batch, and the
 * memory lies there as it is. Otherwise each batch gets its own bytes, closely packed, and ops that read too much are cut.
 *
 * @param room - Bytes, a multiple of 4, at least 16.
 */
export function planBatches(
	ops: readonly ReshardOp[],
	stagingBytes: number,
	room: number,
): Batches {
	if (stagingBytes <= room) {
		const spans = ops.flatMap(alignedSpans).map((span) => ({ ...span, place: span.start }));
		return { batches: [{ ops, originals: ops, spans }], isWhole: true, tooLarge: [] };
	}
	const tooLarge: ReshardOp[] = [];
	const batches: Batch[] = [];
	let open = newBatch();
	let used = 0;
	for (const whole of ops) {
		const parts = cutToFit(whole, room);
		if (parts === undefined) tooLarge.push(whole);
		for (const op of parts ?? []) {
			const bytes = roomFor(op);
			if (used + bytes > room || batches.length === 0) {
				[open, used] = [newBatch(), 0];
				batches.push(open);
			}
			const placed = placeAt(op, used);
			used += bytes;
			open.originals.push(op);
			open.ops.push(placed.op);
			open.spans.push(...placed.spans);
		}
	}
	return { batches, isWhole: false, tooLarge };
}

function newBatch(): { ops: ReshardOp[]; originals: ReshardOp[]; spans: PlacedSpan[] } {
	return { ops: [], originals: [], spans: [] };
}

/** Parts of an op that read at most `room` each; `undefined` when there would be too many. */
function cutToFit(op: ReshardOp, room: number): readonly ReshardOp[] | undefined {
	const parts: ReshardOp[] = [];
	const open = [op];
	for (let next = open.pop(); next !== undefined; next = open.pop()) {
		if (roomFor(next) <= room) parts.push(next);
		else if (parts.length + open.length >= MAX_PARTS) return undefined;
		else open.push(...halve(next));
	}
	return parts;
}

/** Cuts the loop that makes the op read so much. */
function halve(op: ReshardOp): readonly ReshardOp[] {
	const { piece } = op;
	if (piece.kind === "fill") return [op];
	if (piece.kind === "gather") {
		const { stagingOffset } = op as MoveOp;
		return splitPiece(piece, Math.floor(spanOf(piece.dims) / 2), sourceStride).map((part) => {
			const ahead = (part.sourceOffset - piece.sourceOffset) * itemBytes(piece.sourceDtype);
			return { piece: part, stagingOffset: stagingOffset + ahead };
		});
	}
	const { stagingOffset, scaleStagingOffset } = op as DequantOp;
	const bits = elementBits(piece);
	const scaleBytes = SCALE_BYTES[piece.scaleCodec];
	const [elements, scales] = [spanOf(piece.dims), scaleSpanOf(piece.dims)];
	const parts =
		elements * bits >= scales * scaleBytes * 8
			? splitPiece(piece, Math.floor(elements / 2), sourceStride)
			: splitPiece(piece, Math.floor(scales / 2), scaleStride);
	const byteOf = (element: number): number => Math.floor((element * bits) / 8);
	return parts.map((part) => ({
		piece: part,
		stagingOffset: stagingOffset + byteOf(part.sourceOffset) - byteOf(piece.sourceOffset),
		scaleStagingOffset: scaleStagingOffset + (part.scaleOffset - piece.scaleOffset) * scaleBytes,
	}));
}

function alignedSpans(op: ReshardOp): Span[] {
	return spansOf(op).map(({ start, end }) => ({
		start: start - (start % ALIGNMENT_BYTES),
		end: Math.ceil(end / ALIGNMENT_BYTES) * ALIGNMENT_BYTES,
	}));
}

function roomFor(op: ReshardOp): number {
	return alignedSpans(op).reduce((sum, { start, end }) => sum + end - start, 0);
}

/** The op with its bytes at `place`: elements, then scales. */
function placeAt(
	op: ReshardOp,
	place: number,
): { readonly op: ReshardOp; readonly spans: readonly PlacedSpan[] } {
	const aligned = alignedSpans(op);
	if (aligned.length === 0) return { op, spans: [] };
	const elements = at(aligned, 0);
	const stagingOffset = place + op.stagingOffset - elements.start;
	const spans = [{ ...elements, place }];
	if (op.piece.kind !== "dequant") return { op: { ...(op as MoveOp), stagingOffset }, spans };
	const dequant = op as DequantOp;
	const scales = { ...at(aligned, 1), place: place + elements.end - elements.start };
	const scaleStagingOffset = scales.place + dequant.scaleStagingOffset - scales.start;
	return {
		op: { ...dequant, stagingOffset, scaleStagingOffset },
		spans: [...spans, scales],
	};
}
