import { invariant } from "../core/errors.ts";
import { pageOffset } from "../core/pages.ts";
import type { DequantPiece, GatherPiece, Piece, ReshardOp } from "../core/ports.ts";
import { SCALE_BYTES } from "../core/quantisation.ts";
import { at } from "../core/shape.ts";
import { elementBits, scaleSpanOf, spanOf } from "../plan/hulls.ts";
import type { Places } from "../plan/places.ts";
import type { PlanRange } from "../plan/types.ts";
import { scaleStride, sourceStride, splitPiece } from "./split-piece.ts";

/** A range of source bytes and where it begins in staging memory. */
export interface StagedRange extends PlanRange {
	readonly stagingOffset: number;
}

/**
 * Lays ranges one after the other.
 *
 * @param phases - Where in a page a range should begin: its offset in the staging memory modulo the page. `undefined` and ranges
 * beyond the list begin where the one before them ends.
 */
export function layOut(
	ranges: readonly PlanRange[],
	phases: readonly (number | undefined)[] = [],
): readonly StagedRange[] {
	let end = 0;
	return ranges.map((range, index) => {
		const phase = phases[index];
		const stagingOffset = phase === undefined ? end : end + pageOffset(phase - end);
		end = stagingOffset + range.end - range.start;
		return { ...range, stagingOffset };
	});
}

/**
 * Finds the source bytes of pieces in staging memory. A piece whose bytes lie in several ranges becomes several ops, because
 * its source strides do not hold across the seam.
 *
 * @param staged - Sorted by file and first byte, disjoint; together they hold every byte the pieces read.
 */
export function locate(
	pieces: readonly Piece[],
	places: Places,
	staged: readonly StagedRange[],
): readonly ReshardOp[] {
	const ops: ReshardOp[] = [];
	for (const piece of pieces) {
		if (piece.kind === "fill") ops.push({ piece, stagingOffset: 0 });
		else if (piece.dims.every((dim) => dim.size > 0)) locatePiece(piece, places, staged, ops);
	}
	return ops;
}

function locatePiece(
	whole: GatherPiece | DequantPiece,
	places: Places,
	staged: readonly StagedRange[],
	ops: ReshardOp[],
): void {
	const todo = [whole];
	for (let piece = todo.pop(); piece !== undefined; piece = todo.pop()) {
		const elements = seek(elementsOf(piece), places, staged);
		if (typeof elements === "object") todo.push(...splitPiece(piece, elements.room, sourceStride));
		else if (piece.kind === "gather") ops.push({ piece, stagingOffset: elements });
		else {
			const scales = seek(scalesOf(piece), places, staged);
			if (typeof scales === "object") todo.push(...splitPiece(piece, scales.room, scaleStride));
			else ops.push({ piece, stagingOffset: elements, scaleStagingOffset: scales });
		}
	}
}

/** Elements or scales that a piece reads: the first one, and the distance to the last. */
interface Stretch {
	readonly source: string;
	readonly bits: number;
	readonly offset: number;
	readonly span: number;
}

function elementsOf(piece: GatherPiece | DequantPiece): Stretch {
	const { source, sourceOffset: offset, dims } = piece;
	return { source, bits: elementBits(piece), offset, span: spanOf(dims) };
}

function scalesOf({ scales, scaleCodec, scaleOffset, dims }: DequantPiece): Stretch {
	const bits = 8 * SCALE_BYTES[scaleCodec];
	return { source: scales, bits, offset: scaleOffset, span: scaleSpanOf(dims) };
}

/** The staging offset of the byte of the first element; where the last is not in the same range, how far away one may be. */
function seek(
	{ source, bits, offset, span }: Stretch,
	places: Places,
	staged: readonly StagedRange[],
): number | { readonly room: number } {
	const place = places.get(source);
	invariant(place !== undefined, `no place for source tensor ${source}`);
	const first = place.begin + Math.floor((offset * bits) / 8);
	const range = rangeAt(staged, place.file, first);
	invariant(range !== undefined, `byte ${first} of ${source} is not staged`);
	const end = Math.floor(((range.end - place.begin) * 8) / bits);
	const room = end - offset - 1;
	return span <= room ? range.stagingOffset + first - range.start : { room };
}

/** The range that holds byte `byte` of a file. */
function rangeAt(
	staged: readonly StagedRange[],
	file: number,
	byte: number,
): StagedRange | undefined {
	const range = staged[rangeIndexAt(staged, file, byte)];
	return range !== undefined && range.file === file && range.start <= byte ? range : undefined;
}

/** Index of the first of some sorted, disjoint ranges that ends behind byte `byte` of a file; how many there are when none does. */
export function rangeIndexAt(ranges: readonly PlanRange[], file: number, byte: number): number {
	let low = 0;
	let high = ranges.length;
	while (low < high) {
		const middle = Math.floor((low + high) / 2);
		const range = at(ranges, middle);
		if (range.file < file || (range.file === file && range.end <= byte)) low = middle + 1;
		else high = middle;
	}
	return low;
}
