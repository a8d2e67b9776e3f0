import type { Box } from "../core/box.ts";
import { at } from "../core/shape.ts";
import { blocksOf } from "./blocks.ts";
import { footprintOf } from "./footprint.ts";
import type { Places } from "./places.ts";
import { type Atom, clip, hullsOfRegion, type Region } from "./region.ts";
import type { AxisSpan, PlanLimits } from "./types.ts";

/** Cuts an atom along its outermost axis into {@link cleanly} cut slabs, if there is such a height. */
export function cleanSlabs(
	atom: Atom,
	places: Places,
	limits: PlanLimits,
): readonly Atom[] | undefined {
	const boxes = atom.drafts.map((draft) => clip(draft.box, atom.spans));
	const axis = splittableAxis(boxes);
	if (axis === undefined) return undefined;
	const first = at(at(boxes, 0).offset, axis);
	const rows = at(at(boxes, 0).size, axis);
	for (const count of rowCounts(rows, atom, limits)) {
		const slabs = slabsOf(atom, { axis, start: first, end: first + rows }, count);
		const clean = cleanly(atom, slabs, places);
		if (clean !== undefined) return clean;
	}
	return undefined;
}

/**
 * Cuts an atom of drafts that lie one after the other and share scales where they meet: into slabs of whole blocks of rows, wherever
 * the drafts end. {@link cleanly} cut, if there is such a height.
 */
export function slabsAcross(
	atom: Atom,
	places: Places,
	limits: PlanLimits,
): readonly Atom[] | undefined {
	if (atom.bytes <= limits.tileBytes || atom.scaleRanges.length === 0) return undefined;
	const boxes = atom.drafts.map((draft) => clip(draft.box, atom.spans));
	const axis = outermostAxis(boxes);
	if (axis === undefined) return undefined;
	const first = boxes.reduce((min, { offset }) => Math.min(min, at(offset, axis)), Infinity);
	const end = boxes.reduce((max, { offset, size }) => {
		return Math.max(max, at(offset, axis) + at(size, axis));
	}, 0);
	const most = Math.floor((limits.tileBytes * (end - first)) / atom.bytes);
	for (const block of blocksOf(atom.drafts)) {
		const count = wholeBlocks(end - first, Math.max(1, most), block);
		if (count === 0 || count >= end - first) continue;
		// From a multiple of the block on, counted in the global tensor.
		const start = Math.floor(first / block) * block;
		const slabs = slabsOf(atom, { axis, start, end }, count).map(({ drafts, spans }) => ({
			drafts: drafts.filter(({ box }) => meets(box, axis, spans)),
			spans,
		}));
		const filled = slabs.filter(({ drafts }) => drafts.length > 0);
		const clean = cleanly(atom, filled, places);
		if (clean !== undefined) return clean;
	}
	return undefined;
}

/** Whether a box has any of the rows that the spans say. */
function meets({ offset, size }: Box, axis: number, spans: readonly AxisSpan[]): boolean {
	const first = at(offset, axis);
	const last = first + at(size, axis);
	return spans.every((span) => span.axis !== axis || (first < span.end && span.start < last));
}

/** The first axis along which boxes have more than single rows. */
function outermostAxis(boxes: readonly Box[]): number | undefined {
	const rank = boxes.reduce((min, { size }) => Math.min(min, size.length), Infinity);
	for (let axis = 0; axis < rank; axis++) {
		if (boxes.some(({ size }) => at(size, axis) > 1)) return axis;
	}
	return undefined;
}

/** Slabs that share no byte and leave the source ranges whole but for the seams between them; `undefined` when they do not. */
function cleanly(
	atom: Atom,
	slabs: readonly Region[],
	places: Places,
): readonly Atom[] | undefined {
	const mostRanges = atom.ranges.length + slabs.length - 1;
	const clean: Atom[] = [];
	let bytes = 0;
	let ranges = 0;
	for (const { drafts, spans } of slabs) {
		const hulls = hullsOfRegion({ drafts, spans }, places);
		const footprint = footprintOf(hulls, MAX_RUNS_PER_HULL * hulls.length);
		if (footprint === undefined) return undefined;
		bytes += footprint.bytes;
		ranges += footprint.ranges.length;
		if (ranges > mostRanges) return undefined;
		clean.push({ drafts, spans, ...footprint });
	}
	// The slabs read what the whole reads; equal sums mean that no two slabs share a byte.
	return bytes === atom.bytes ? clean : undefined;
}

/** A slab worth having reads whole stretches of the source; bytes more scattered than this are not looked at. */
const MAX_RUNS_PER_HULL = 4;

/** The outermost axis along which every box has the same rows, with nothing but single rows outside it. */
function splittableAxis(boxes: readonly Box[]): number | undefined {
	const first = at(boxes, 0);
	const axis = first.size.findIndex((size) => size > 1);
	if (axis < 0) return undefined;
	const alike = boxes.every(
		(box) =>
			box.size.length === first.size.length &&
			box.size[axis] === first.size[axis] &&
			box.offset[axis] === first.offset[axis] &&
			box.size.slice(0, axis).every((size) => size === 1),
	);
	return alike ? axis : undefined;
}

/** Slab heights worth trying, best first. */
function rowCounts(rows: number, atom: Atom, limits: PlanLimits): readonly number[] {
	const counts = new Set<number>();
	const perRange = rows / atom.ranges.length;
	if (atom.ranges.length > 1 && Number.isInteger(perRange)) counts.add(perRange);
	const most = Math.max(1, Math.floor((limits.tileBytes * rows) / Math.max(1, atom.bytes)));
	if (atom.bytes > limits.tileBytes) {
		for (const block of blocksOf(atom.drafts)) counts.add(wholeBlocks(rows, most, block));
		counts.add(most);
		// Permuted rows (RoPE) split at head boundaries only, which divisors of the number of rows are likely to meet.
		for (
			let count = largestDivisor(rows, most);
			count >= 1;
			count = largestDivisor(rows, count - 1)
		) {
			counts.add(count);
			if (count === 1 || counts.size > MAX_TRIES) break;
		}
	}
	return [...counts].filter((count) => count >= 1 && count < rows);
}

/** About as many rows for every slab, at most `most`, in whole blocks; 0 when a block is higher. */
function wholeBlocks(rows: number, most: number, block: number): number {
	const even = rows / Math.ceil(rows / most);
	return Math.min(Math.ceil(even / block), Math.floor(most / block)) * block;
}

/** A slab height is found within a few tries or not at all: transposed tensors have none. */
const MAX_TRIES = 6;

function largestDivisor(value: number, most: number): number {
	for (let divisor = most; divisor > 1; divisor--) if (value % divisor === 0) return divisor;
	return Math.min(1, most);
}

/** Slabs of `count` rows, the last one lower where it does not come out even. */
function slabsOf({ drafts, spans }: Region, rows: AxisSpan, count: number): Region[] {
	const others = spans.filter(({ axis }) => axis !== rows.axis);
	const slabs: Region[] = [];
	for (let start = rows.start; start < rows.end; start += count) {
		const end = Math.min(start + count, rows.end);
		slabs.push({ drafts, spans: [...others, { axis: rows.axis, start, end }] });
	}
	return slabs;
}
