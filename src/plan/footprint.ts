import { itemBytes } from "../core/dtype.ts";
import { invariant } from "../core/errors.ts";
import { PAGE_BYTES, PAGED_FROM_BYTES } from "../core/pages.ts";
import type { GatherPiece, Piece, PieceDim } from "../core/ports.ts";
import type { SourceNote } from "../core/recipe.ts";
import { at } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import type { PlanRange } from "./types.ts";

/** Where a source tensor lies: index of its file and first byte. */
export interface Placed {
	readonly file: number;
	readonly begin: number;
	/** Stored under more than one key: its bytes may be read by several entries. */
	readonly tied: boolean;
}

/** Where every source tensor lies, by name. */
export type Places = ReadonlyMap<string, Placed>;

/** Where every source tensor lies. `tied` names those that are stored under more than one key. */
export function placesOf(inputs: {
	readonly source: Source;
	readonly tied: readonly SourceNote[];
}): Places {
	const { source, tied } = inputs;
	const files = new Map(source.files.map((file, index) => [file.path, index]));
	const tiedNames = new Set(tied.map((note) => note.name));
	return new Map(
		source.tensors.map(({ name, file, begin }) => {
			const index = files.get(file);
			invariant(index !== undefined, `tensor ${name} in unknown file ${file}`);
			return [name, { file: index, begin, tied: tiedNames.has(name) }];
		}),
	);
}

/** The smallest range around the source bytes of one piece, and how many of them the piece reads. */
export interface Hull extends PlanRange {
	readonly coveredBytes: number;
	readonly piece: GatherPiece;
	readonly placed: Placed;
}

/** How many elements loops visit. */
export function countOf(dims: readonly PieceDim[]): number {
	return dims.reduce((product, dim) => product * dim.size, 1);
}

/** Distance in elements from the first source element to the last. */
export function spanOf(dims: readonly PieceDim[]): number {
	return dims.reduce((sum, dim) => sum + dim.sourceStride * (dim.size - 1), 0);
}

/** One hull per gather piece. */
export function hullsOf(pieces: readonly Piece[], places: Places): Hull[] {
	const hulls: Hull[] = [];
	for (const piece of pieces) {
		if (piece.kind !== "gather") continue;
		const placed = places.get(piece.source);
		invariant(placed !== undefined, `no place for source tensor ${piece.source}`);
		const width = itemBytes(piece.sourceDtype);
		hulls.push({
			file: placed.file,
			start: placed.begin + piece.sourceOffset * width,
			end: placed.begin + (piece.sourceOffset + spanOf(piece.dims) + 1) * width,
			coveredBytes: countOf(piece.dims) * width,
			piece,
			placed,
		});
	}
	return hulls;
}

/** Orders ranges by file, then by first byte. */
export function compareRanges(a: PlanRange, b: PlanRange): number {
	return a.file - b.file || a.start - b.start || a.end - b.end;
}

/** Joins overlapping and adjacent ranges. */
export function unionRanges(ranges: readonly PlanRange[]): PlanRange[] {
	const union: { file: number; start: number; end: number }[] = [];
	for (const range of ranges.toSorted(compareRanges)) {
		const last = union.at(-1);
		if (last !== undefined && last.file === range.file && range.start <= last.end) {
			last.end = Math.max(last.end, range.end);
		} else union.push({ file: range.file, start: range.start, end: range.end });
	}
	return union;
}

/** Sum of lengths. */
export function rangeBytes(ranges: readonly PlanRange[]): number {
	return ranges.reduce((sum, range) => sum + range.end - range.start, 0);
}

/** The staging memory of ranges: their bytes, and a page for each large one, which is shifted to suit its place in the target. */
export function stagingBytesOf(ranges: readonly PlanRange[]): number {
	const large = ranges.filter(({ start, end }) => end - start >= PAGED_FROM_BYTES);
	return rangeBytes(ranges) + large.length * PAGE_BYTES;
}

/**
 * Exactly the source bytes that pieces with these hulls read: sorted, disjoint, not adjacent.
 *
 * @param maxRuns - How finely the bytes may be scattered before the answer is not worth having.
 * @returns `undefined` when there are more runs than that.
 */
export function exactRanges(hulls: readonly Hull[], maxRuns: number): PlanRange[] | undefined {
	const exact: PlanRange[] = [];
	let runs = 0;
	for (const cluster of overlapping(hulls)) {
		const first = at(cluster, 0);
		const end = cluster.reduce((max, hull) => Math.max(max, hull.end), 0);
		const covered = cluster.reduce((sum, hull) => sum + hull.coveredBytes, 0);
		// No byte of an untied tensor is read twice, so equal sums mean that no byte is left out.
		const single = cluster.length === 1 || !cluster.some((hull) => hull.placed.tied);
		if (single && covered === end - first.start) {
			exact.push({ file: first.file, start: first.start, end });
		} else {
			runs += cluster.reduce((sum, hull) => sum + countRuns(hull.piece), 0);
			if (runs > maxRuns) return undefined;
			for (const hull of cluster) for (const run of runsOf(hull)) exact.push(run);
		}
	}
	return unionRanges(exact);
}

/** Hulls in source order, split wherever no hull covers the seam. */
function overlapping(hulls: readonly Hull[]): Hull[][] {
	const clusters: Hull[][] = [];
	let end = 0;
	let file = -1;
	for (const hull of hulls.toSorted(compareRanges)) {
		if (hull.file === file && hull.start < end) at(clusters, clusters.length - 1).push(hull);
		else {
			clusters.push([hull]);
			end = 0;
		}
		file = hull.file;
		end = Math.max(end, hull.end);
	}
	return clusters;
}

/** The dims of a piece that lead from one contiguous source run to the next, and the length of a run in elements. */
function runsShape(piece: GatherPiece): { readonly outer: PieceDim[]; readonly length: number } {
	const dims = piece.dims.toSorted((a, b) => a.sourceStride - b.sourceStride);
	let length = 1;
	let inner = 0;
	for (; inner < dims.length && at(dims, inner).sourceStride === length; inner++) {
		length *= at(dims, inner).size;
	}
	return { outer: dims.slice(inner), length };
}

function countRuns(piece: GatherPiece): number {
	return countOf(runsShape(piece).outer);
}

/** The maximal contiguous source ranges of one piece. */
function runsOf(hull: Hull): PlanRange[] {
	const { piece, file } = hull;
	const width = itemBytes(piece.sourceDtype);
	const { outer, length } = runsShape(piece);
	let starts = [hull.start];
	for (const dim of outer) {
		starts = starts.flatMap((start) =>
			Array.from({ length: dim.size }, (_, i) => start + i * dim.sourceStride * width),
		);
	}
	return starts.map((start) => ({ file, start, end: start + length * width }));
}
