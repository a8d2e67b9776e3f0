import { PAGE_BYTES, PAGED_FROM_BYTES } from "../core/pages.ts";
import { at } from "../core/shape.ts";
import { areApart, countRuns, type Hull, runsOf } from "./hulls.ts";
import type { PlanRange } from "./types.ts";

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

/** Exactly the source bytes that some pieces read: sorted, disjoint, not adjacent. */
export interface Footprint {
	/**
	 * Those of the elements. Where what is said of how many ranges there are, or of which follow one another, these are meant: scales
	 * are few, and lie elsewhere.
	 */
	readonly ranges: readonly PlanRange[];
	/** Those of the scales. */
	readonly scaleRanges: readonly PlanRange[];
	/** How many bytes that is, of both. */
	readonly bytes: number;
}

/**
 * The bytes that pieces with these hulls read.
 *
 * @param maxRuns - How finely those of the elements may be scattered before the answer is not worth having.
 * @returns `undefined` when there are more runs than that.
 */
export function footprintOf(hulls: readonly Hull[], maxRuns: number): Footprint | undefined {
	const elements = hulls.filter(({ reads }) => reads === "elements");
	const ranges = exactRanges(elements, maxRuns);
	if (ranges === undefined) return undefined;
	const scales = hulls.filter(({ reads }) => reads === "scales");
	const scaleRanges = exactRanges(scales, Number.POSITIVE_INFINITY) ?? [];
	// Scales that are stored as a tensor of their own as well are among both.
	return { ranges, scaleRanges, bytes: rangeBytes(unionRanges([...ranges, ...scaleRanges])) };
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
		// Where no byte is read twice, equal sums mean that no byte is left out.
		if (covered === end - first.start && (!cluster.some(isSharedHull) || areApart(cluster))) {
			exact.push({ file: first.file, start: first.start, end });
		} else {
			runs += cluster.reduce((sum, hull) => sum + countRuns(hull), 0);
			if (runs > maxRuns) return undefined;
			for (const hull of cluster) for (const run of runsOf(hull)) exact.push(run);
		}
	}
	return unionRanges(exact);
}

function isSharedHull({ isShared }: Hull): boolean {
	return isShared;
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
