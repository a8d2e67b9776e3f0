import { type Box, boundingBox, boxNumel } from "../core/box.ts";
import { invariant } from "../core/errors.ts";
import type { Expr } from "../core/expr.ts";
import { at } from "../core/shape.ts";
import { compareRanges, type Footprint, footprintOf } from "./footprint.ts";
import { type Hull, hullsOf } from "./hulls.ts";
import { boxIn } from "./parts.ts";
import type { Places } from "./places.ts";
import { pull } from "./pull.ts";
import type { AxisSpan, PlanLimits } from "./types.ts";

/** An entry while the plan is made: its file offset is not known yet. */
export interface Draft {
	/** Index of its tensor. */
	readonly tensor: number;
	readonly expr: Expr;
	readonly box: Box;
	/** The rank whose file holds it. */
	readonly rank: number;
	/** Which of the tensor's shards it is, or a part of. */
	readonly shard: number;
}

/** The same rows of some drafts. */
export interface Region {
	readonly drafts: readonly Draft[];
	/** As in a {@link PlanSlab}. */
	readonly spans: readonly AxisSpan[];
}

/** A region whose source bytes are fetched together, and those bytes. */
export interface Atom extends Region, Footprint {}

/**
 * The hulls of all that a region reads.
 *
 * Drafts of one tensor that tile a box (all shards of a tensor do) read what the box reads, however many they are.
 */
export function hullsOfRegion({ drafts, spans }: Region, places: Places): Hull[] {
	const byTensor = new Map<number, { readonly expr: Expr; readonly boxes: Box[] }>();
	for (const { tensor, expr, box } of drafts) {
		const group = byTensor.get(tensor) ?? { expr, boxes: [] };
		byTensor.set(tensor, group);
		group.boxes.push(boxIn(box, spans));
	}
	return [...byTensor.values()].flatMap(({ expr, boxes }) => {
		const around = boundingBox(boxes);
		const filled = boxes.reduce((sum, box) => sum + boxNumel(box), 0);
		const read = filled === boxNumel(around) ? [around] : boxes;
		return read.flatMap((box) => hullsOf(pull(expr, box), places));
	});
}

/**
 * Splits a region into regions whose source bytes do not interleave: two drafts stay together when the hulls of their pieces
 * overlap, directly or through others. No source byte of one is read by another.
 *
 * @returns Regions in the order of their first drafts.
 */
export function components(region: Region, places: Places): Region[] {
	const { drafts, spans } = region;
	const hulls = drafts
		.flatMap((draft, index) =>
			hullsOf(pull(draft.expr, boxIn(draft.box, spans)), places).map((hull) => ({ hull, index })),
		)
		.toSorted((a, b) => compareRanges(a.hull, b.hull));
	const parent = drafts.map((_, index) => index);
	const find = (index: number): number => {
		let root = index;
		while (at(parent, root) !== root) {
			parent[root] = at(parent, at(parent, root));
			root = at(parent, root);
		}
		return root;
	};
	let file = -1;
	let end = 0;
	let holder = 0;
	for (const { hull, index } of hulls) {
		if (hull.file === file && hull.start < end) parent[find(index)] = find(holder);
		else end = 0;
		if (hull.end > end) {
			end = hull.end;
			holder = index;
		}
		file = hull.file;
	}
	const sets = new Map<number, Draft[]>();
	drafts.forEach((draft, index) => {
		const root = find(index);
		const set = sets.get(root);
		if (set === undefined) sets.set(root, [draft]);
		else set.push(draft);
	});
	return [...sets.values()].map((set) => ({ drafts: set, spans }));
}

/**
 * Makes atoms of at most `limits.tileBytes` and one source range each, as far as the source and target orders of the region
 * allow. What an atom holds of a draft is a contiguous stretch of the draft's data.
 */
export function atomsOf(region: Region, places: Places, limits: PlanLimits): Atom[] {
	const footprint = footprintOf(hullsOfRegion(region, places), Number.POSITIVE_INFINITY);
	invariant(footprint !== undefined, "no limit was exceeded");
	const atom = { ...region, ...footprint };
	if (atom.bytes <= limits.tileBytes && atom.ranges.length <= 1) return [atom];
	const slabs = cleanSlabs(atom, places, limits);
	if (slabs !== undefined) return slabs.flatMap((slab) => atomsOf(slab, places, limits));
	const parts = components(region, places);
	return parts.length === 1 ? [atom] : parts.flatMap((part) => atomsOf(part, places, limits));
}

/** Cuts an atom along its outermost axis into slabs of a height that {@link isClean}, if there is one. */
function cleanSlabs(atom: Atom, places: Places, limits: PlanLimits): Region[] | undefined {
	const boxes = atom.drafts.map((draft) => boxIn(draft.box, atom.spans));
	const axis = splittableAxis(boxes);
	if (axis === undefined) return undefined;
	const first = at(at(boxes, 0).offset, axis);
	const rows = at(at(boxes, 0).size, axis);
	for (const count of rowCounts(rows, atom, limits)) {
		const slabs = slabsOf(atom, { axis, start: first, end: first + rows }, count);
		if (isClean(atom, slabs, places)) return slabs;
	}
	return undefined;
}

/** Whether slabs share no byte and leave the source ranges whole but for the seams between them. */
function isClean(atom: Atom, slabs: readonly Region[], places: Places): boolean {
	const mostRanges = atom.ranges.length + slabs.length - 1;
	let bytes = 0;
	let ranges = 0;
	for (const slab of slabs) {
		const hulls = hullsOfRegion(slab, places);
		const exact = footprintOf(hulls, MAX_RUNS_PER_HULL * hulls.length);
		if (exact === undefined) return false;
		bytes += exact.bytes;
		ranges += exact.ranges.length;
		if (ranges > mostRanges) return false;
	}
	// The slabs read what the whole reads; equal sums mean that no two slabs share a byte.
	return bytes === atom.bytes;
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
