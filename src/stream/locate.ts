import { itemBytes } from "../core/dtype.ts";
import { invariant } from "../core/errors.ts";
import { pageOffset } from "../core/pages.ts";
import type { GatherPiece, Piece, ReshardOp } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { type Places, spanOf } from "../plan/footprint.ts";
import type { PlanRange } from "../plan/types.ts";

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
		else if (piece.kind === "dequant") invariant(false, "quantised pieces are not located yet");
		else if (piece.dims.every((dim) => dim.size > 0)) locateGather(piece, places, staged, ops);
	}
	return ops;
}

function locateGather(
	whole: GatherPiece,
	places: Places,
	staged: readonly StagedRange[],
	ops: ReshardOp[],
): void {
	const place = places.get(whole.source);
	invariant(place !== undefined, `no place for source tensor ${whole.source}`);
	const width = itemBytes(whole.sourceDtype);
	const todo: GatherPiece[] = [whole];
	for (let piece = todo.pop(); piece !== undefined; piece = todo.pop()) {
		const first = place.begin + piece.sourceOffset * width;
		const range = rangeAt(staged, place.file, first);
		invariant(range !== undefined, `byte ${first} of ${piece.source} is not staged`);
		const room = Math.floor((range.end - first) / width) - 1;
		if (spanOf(piece.dims) <= room) {
			ops.push({ piece, stagingOffset: range.stagingOffset + first - range.start });
		} else todo.push(...splitPiece(piece, room));
	}
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

/** Cuts the loop with the longest source stride behind the last index whose elements lie within `room`; the rest comes first. */
function splitPiece(piece: GatherPiece, room: number): [rest: GatherPiece, first: GatherPiece] {
	let axis = 0;
	piece.dims.forEach((dim, d) => {
		if (dim.sourceStride > at(piece.dims, axis).sourceStride) axis = d;
	});
	const dim = piece.dims[axis];
	invariant(dim !== undefined && dim.size > 1, `an element of ${piece.source} is not staged`);
	const inner = spanOf(piece.dims.toSpliced(axis, 1));
	const fitting = Math.floor((room - inner) / dim.sourceStride) + 1;
	const count = Math.max(1, Math.min(dim.size - 1, fitting));
	return [takeIndices(piece, axis, count, dim.size - count), takeIndices(piece, axis, 0, count)];
}

function takeIndices(piece: GatherPiece, axis: number, first: number, count: number): GatherPiece {
	const dim = at(piece.dims, axis);
	return {
		...piece,
		sourceOffset: piece.sourceOffset + first * dim.sourceStride,
		targetOffset: piece.targetOffset + first * dim.targetStride,
		dims:
			count === 1 ? piece.dims.toSpliced(axis, 1) : piece.dims.with(axis, { ...dim, size: count }),
	};
}
