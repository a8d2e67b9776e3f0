import type { Box } from "../core/box.ts";
import type { Expr } from "../core/expr.ts";
import { at } from "../core/shape.ts";
import {
	compareRanges,
	exactRanges,
	type Hull,
	hullsOf,
	type Places,
	rangeBytes,
} from "./footprint.ts";
import { pull } from "./pull.ts";
import type { PlanLimits, PlanRange } from "./types.ts";

/** An entry while the plan is made: its file offset is not known yet. */
export interface Draft {
	/** Index of its tensor. */
	readonly tensor: number;
	readonly expr: Expr;
	readonly box: Box;
	/** The rank whose file holds it. */
	readonly rank: number;
}

/** A stretch of a draft's data. */
export interface DraftPart {
	readonly draft: Draft;
	readonly box: Box;
}

/** Parts that must be made together because their source bytes interleave, and those source bytes. */
export interface Atom {
	readonly ranges: readonly PlanRange[];
	readonly bytes: number;
	readonly parts: readonly DraftPart[];
}

/** Parts whose source bytes interleave, with the hulls of all their pieces. */
export interface Component {
	readonly parts: DraftPart[];
	readonly hulls: Hull[];
}

/** All of some drafts. */
export function wholeParts(drafts: readonly Draft[]): DraftPart[] {
	return drafts.map((draft) => ({ draft, box: draft.box }));
}

/**
 * Splits parts into sets whose source bytes do not interleave: two parts are in one set when the hulls of their pieces
 * overlap, directly or through others. No byte of a set is read by another.
 *
 * @returns Sets in the order of their first parts.
 */
export function components(parts: readonly DraftPart[], places: Places): Component[] {
	const parent = parts.map((_, index) => index);
	const find = (index: number): number => {
		let root = index;
		while (at(parent, root) !== root) {
			parent[root] = at(parent, at(parent, root));
			root = at(parent, root);
		}
		return root;
	};
	const hulls = parts
		.flatMap((part, index) =>
			hullsOf(pull(part.draft.expr, part.box), places).map((hull) => ({ hull, index })),
		)
		.toSorted((a, b) => compareRanges(a.hull, b.hull));
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
	const sets = new Map<number, Component>();
	parts.forEach((part, index) => {
		const root = find(index);
		const set = sets.get(root);
		if (set === undefined) sets.set(root, { parts: [part], hulls: [] });
		else set.parts.push(part);
	});
	for (const { hull, index } of hulls) sets.get(find(index))?.hulls.push(hull);
	return [...sets.values()];
}

/**
 * Makes atoms of at most `limits.tileBytes` and one source range each, as far as the source and target orders of the
 * component allow. Every part is a contiguous stretch of its draft's data.
 */
export function atomsOf(component: Component, places: Places, limits: PlanLimits): Atom[] {
	const { parts, hulls } = component;
	const ranges = exactRanges(hulls, Number.POSITIVE_INFINITY) ?? [];
	const atom = { ranges, bytes: rangeBytes(ranges), parts };
	const fits = atom.bytes <= limits.tileBytes;
	if (fits && ranges.length <= 1) return [atom];
	const axis = splittableAxis(parts);
	if (axis === undefined) return [atom];
	const rows = at(at(parts, 0).box.size, axis);
	for (const count of rowCounts(rows, atom, limits)) {
		const slabs = cleanCut(atom, slabsOf(parts, axis, count), places);
		if (slabs !== undefined) return slabs.flatMap((slab) => atomsOf(slab, places, limits));
	}
	return [atom];
}

/**
 * The components of slabs, provided that the slabs share no byte and leave the source ranges whole but for the seams
 * between them.
 */
function cleanCut(
	atom: Atom,
	slabs: readonly DraftPart[][],
	places: Places,
): Component[] | undefined {
	const mostRanges = atom.ranges.length + slabs.length - 1;
	const all: Component[] = [];
	let bytes = 0;
	let ranges = 0;
	for (const slab of slabs) {
		const found = components(slab, places);
		const hulls = found.flatMap((component) => component.hulls);
		const exact = exactRanges(hulls, MAX_RUNS_PER_HULL * hulls.length);
		if (exact === undefined) return undefined;
		bytes += rangeBytes(exact);
		ranges += exact.length;
		if (ranges > mostRanges) return undefined;
		all.push(...found);
	}
	// The slabs read what the whole reads; equal sums mean that no two slabs share a byte.
	return bytes === atom.bytes ? all : undefined;
}

/** A slab worth having reads whole stretches of the source; bytes more scattered than this are not looked at. */
const MAX_RUNS_PER_HULL = 4;

/** The outermost axis along which every part has the same rows, with nothing but single rows outside it. */
function splittableAxis(parts: readonly DraftPart[]): number | undefined {
	const first = at(parts, 0).box;
	const axis = first.size.findIndex((size) => size > 1);
	if (axis < 0) return undefined;
	const alike = parts.every(
		({ box }) =>
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
		// Permuted rows (RoPE) split at head boundaries only; head sizes divide a power of two times the odd part of the rows.
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

function slabsOf(parts: readonly DraftPart[], axis: number, count: number): DraftPart[][] {
	const { offset, size } = at(parts, 0).box;
	const first = at(offset, axis);
	const end = first + at(size, axis);
	const slabs: DraftPart[][] = [];
	for (let start = first; start < end; start += count) {
		const rows = Math.min(count, end - start);
		slabs.push(
			parts.map(({ draft, box }) => ({
				draft,
				box: {
					offset: box.offset.with(axis, start),
					size: box.size.with(axis, rows),
				},
			})),
		);
	}
	return slabs;
}
