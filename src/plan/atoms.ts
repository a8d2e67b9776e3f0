import { type Box, boundingBox, boxNumel } from "../core/box.ts";
import { invariant } from "../core/errors.ts";
import type { Expr } from "../core/expr.ts";
import { at } from "../core/shape.ts";
import { compareRanges, type Footprint, footprintOf } from "./footprint.ts";
import { type Hull, hullsOf } from "./hulls.ts";
import { blocksOf } from "./blocks.ts";
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
	return separate(region, places).map((component) => component.region);
}

/** As {@link components}, with what each reads: the hulls of its drafts. */
function separate(
	{ drafts, spans }: Region,
	places: Places,
): readonly { readonly region: Region; readonly hulls: readonly Hull[] }[] {
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
	const sets = new Map<number, { readonly drafts: Draft[]; readonly hulls: Hull[] }>();
	drafts.forEach((draft, index) => {
		const root = find(index);
		const set = sets.get(root) ?? { drafts: [], hulls: [] };
		sets.set(root, set);
		set.drafts.push(draft);
	});
	for (const { hull, index } of hulls) sets.get(find(index))?.hulls.push(hull);
	return [...sets.values()].map((set) => ({
		region: { drafts: set.drafts, spans },
		hulls: set.hulls,
	}));
}

/**
 * Makes atoms of at most `limits.tileBytes` and one source range each, as far as the source and target orders of the region
 * allow. What an atom holds of a draft is a contiguous stretch of the draft's data.
 */
export function atomsOf(region: Region, places: Places, limits: PlanLimits): Atom[] {
	return divided(atomOf(region, hullsOfRegion(region, places)), places, limits);
}

function atomOf({ drafts, spans }: Region, hulls: readonly Hull[]): Atom {
	const footprint = footprintOf(hulls, Number.POSITIVE_INFINITY);
	invariant(footprint !== undefined, "no limit was exceeded");
	return { drafts, spans, ...footprint };
}

function divided(atom: Atom, places: Places, limits: PlanLimits): Atom[] {
	if (atom.bytes <= limits.tileBytes && atom.ranges.length <= 1) return [atom];
	const slabs = cleanSlabs(atom, places, limits);
	if (slabs !== undefined) return slabs.flatMap((slab) => divided(slab, places, limits));
	const parts = separate(atom, places);
	if (parts.length === 1) return [atom];
	return parts.flatMap(({ region, hulls }) => {
		const isAlone = region.drafts.length === 1;
		const own = atomOf(region, isAlone ? hulls : hullsOfRegion(region, places));
		return divided(own, places, limits);
	});
}

/** Cuts an atom along its outermost axis into {@link cleanly} cut slabs, if there is such a height. */
function cleanSlabs(atom: Atom, places: Places, limits: PlanLimits): readonly Atom[] | undefined {
	const boxes = atom.drafts.map((draft) => boxIn(draft.box, atom.spans));
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
