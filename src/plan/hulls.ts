import { itemBytes } from "../core/dtype.ts";
import { invariant } from "../core/errors.ts";
import type { DequantDim, DequantPiece, GatherPiece, Piece, PieceDim } from "../core/ports.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../core/quantisation.ts";
import type { Placed, Places } from "./places.ts";
import type { PlanRange } from "./types.ts";

/** The smallest range around the bytes that one piece reads of one source tensor. */
export interface Hull extends PlanRange {
	/** How many of them the piece reads; 0 where that is not known without listing them. */
	readonly coveredBytes: number;
	/** Whether pieces of other elements may read the same bytes: those of tied tensors, scales, halves of a byte. */
	readonly isShared: boolean;
	readonly reads: "elements" | "scales";
	readonly piece: GatherPiece | DequantPiece;
}

/** How many elements loops visit. */
export function countOf(dims: readonly { readonly size: number }[]): number {
	return dims.reduce((product, dim) => product * dim.size, 1);
}

/** Distance in elements from the first source element to the last. */
export function spanOf(dims: readonly PieceDim[]): number {
	return dims.reduce((sum, dim) => sum + dim.sourceStride * (dim.size - 1), 0);
}

/** Distance in scales from the first scale to the last. */
export function scaleSpanOf(dims: readonly DequantDim[]): number {
	return dims.reduce((sum, dim) => sum + dim.scaleStride * (dim.size - 1), 0);
}

/** One hull per gather piece, two per dequantising one: its elements and its scales. */
export function hullsOf(pieces: readonly Piece[], places: Places): Hull[] {
	const hulls: Hull[] = [];
	for (const piece of pieces) {
		if (piece.kind === "fill") continue;
		hulls.push(elementHull(piece, placeOf(piece.source, places)));
		if (piece.kind === "dequant") hulls.push(scaleHull(piece, placeOf(piece.scales, places)));
	}
	return hulls;
}

function placeOf(name: string, places: Places): Placed {
	const placed = places.get(name);
	invariant(placed !== undefined, `no place for source tensor ${name}`);
	return placed;
}

function elementHull(piece: GatherPiece | DequantPiece, { file, begin, tied }: Placed): Hull {
	const bits = elementBits(piece);
	const start = begin + Math.floor((piece.sourceOffset * bits) / 8);
	const last = piece.sourceOffset + spanOf(piece.dims);
	const end = begin + Math.ceil(((last + 1) * bits) / 8);
	const isWhole = readsWholeBytes(piece, bits);
	const isRun = !isWhole && runsShape(piece, "elements").outer.length === 0;
	const ownBytes = isRun ? end - start : 0;
	return {
		file,
		start,
		end,
		coveredBytes: isWhole ? (countOf(piece.dims) * bits) / 8 : ownBytes,
		isShared: tied || !isWhole,
		reads: "elements",
		piece,
	};
}

function scaleHull(piece: DequantPiece, { file, begin }: Placed): Hull {
	const width = SCALE_BYTES[piece.scaleCodec];
	const start = begin + piece.scaleOffset * width;
	const dims = piece.dims.filter(({ scaleStride }) => scaleStride > 0);
	return {
		file,
		start,
		end: start + (scaleSpanOf(dims) + 1) * width,
		// Loops that move the scale at all move it to different ones: each goes along one axis of the scales.
		coveredBytes: countOf(dims) * width,
		isShared: true,
		reads: "scales",
		piece,
	};
}

/** Bits of one source element. */
export function elementBits(piece: GatherPiece | DequantPiece): number {
	return piece.kind === "gather" ? 8 * itemBytes(piece.sourceDtype) : ELEMENT_BITS[piece.codec];
}

/** Whether elements that share a byte are read together, so that the bytes are the piece's own. */
function readsWholeBytes(
	{ sourceOffset, dims }: GatherPiece | DequantPiece,
	bits: number,
): boolean {
	if (bits >= 8) return true;
	const perByte = 8 / bits;
	const isPaired = dims.some(
		({ size, sourceStride }) => sourceStride === 1 && size % perByte === 0,
	);
	const others = dims.filter(({ sourceStride }) => sourceStride !== 1);
	return (
		isPaired &&
		sourceOffset % perByte === 0 &&
		others.every(({ sourceStride }) => sourceStride % perByte === 0)
	);
}

interface Stride {
	readonly size: number;
	readonly stride: number;
}

/** The loops that lead from one contiguous run of elements, or of scales, to the next, and the length of a run. */
function runsShape(
	piece: Hull["piece"],
	reads: Hull["reads"],
): { readonly outer: readonly Stride[]; readonly length: number } {
	const strides = stridesOf(piece, reads).toSorted((a, b) => a.stride - b.stride);
	let length = 1;
	let inner = 0;
	for (; strides[inner]?.stride === length; inner++) length *= strides[inner]?.size ?? 1;
	return { outer: strides.slice(inner), length };
}

function stridesOf(piece: GatherPiece | DequantPiece, reads: Hull["reads"]): Stride[] {
	if (reads === "elements" || piece.kind === "gather") {
		return piece.dims.map(({ size, sourceStride }) => ({ size, stride: sourceStride }));
	}
	return piece.dims
		.filter(({ scaleStride }) => scaleStride > 0)
		.map(({ size, scaleStride }) => ({ size, stride: scaleStride }));
}

/** How many contiguous ranges {@link runsOf} lists. */
export function countRuns(hull: Hull): number {
	return countOf(runsShape(hull.piece, hull.reads).outer);
}

/** The contiguous source ranges of one hull. Of elements of half a byte, neighbours may share a byte. */
export function runsOf(hull: Hull): PlanRange[] {
	const { piece, reads, file } = hull;
	const bits = bitsOf(hull);
	const { outer, length } = runsShape(piece, reads);
	// Counted from the byte that the hull begins with.
	let starts = [reads === "scales" ? 0 : ((piece.sourceOffset * bits) % 8) / bits];
	for (const { size, stride } of outer) {
		starts = starts.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * stride));
	}
	return starts.map((start) => ({
		file,
		start: hull.start + Math.floor((start * bits) / 8),
		end: hull.start + Math.ceil(((start + length) * bits) / 8),
	}));
}

/**
 * Whether it is plain that no two of some hulls, sorted by their first byte, read the same byte: they go in the same steps, and each
 * begins before the others have made the first. Rows of gate and up by turns are of this kind.
 */
export function areApart(hulls: readonly Hull[]): boolean {
	const [first] = hulls;
	if (first === undefined || hulls.length === 1) return true;
	const shape = runsShape(first.piece, first.reads);
	const width = bitsOf(first) / 8;
	if (!isNested(shape.outer) || !Number.isInteger(width)) return false;
	const run = shape.length * width;
	const step = (shape.outer[0]?.stride ?? Infinity) * width;
	let end = first.start;
	for (const hull of hulls) {
		const other = runsShape(hull.piece, hull.reads);
		const isAlike =
			bitsOf(hull) === bitsOf(first) &&
			other.length === shape.length &&
			other.outer.length === shape.outer.length &&
			other.outer.every((loop, l) => {
				const own = shape.outer[l];
				return loop.size === own?.size && loop.stride === own.stride;
			});
		if (!isAlike || hull.start < end) return false;
		end = hull.start + run;
	}
	return end - first.start <= step;
}

/** Whether every loop steps over all that those before it visit. */
function isNested(loops: readonly Stride[]): boolean {
	return loops.every(({ stride }, l) => {
		const inner = loops[l - 1];
		return inner === undefined || stride >= inner.stride * inner.size;
	});
}

function bitsOf({ piece, reads }: Hull): number {
	const isScales = reads === "scales" && piece.kind === "dequant";
	return isScales ? 8 * SCALE_BYTES[piece.scaleCodec] : elementBits(piece);
}
