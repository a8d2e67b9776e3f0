import { invariant } from "../core/errors.ts";
import { at } from "../core/shape.ts";
import { compareRanges, footprintOf } from "./footprint.ts";
import { type Hull, hullsOf } from "./hulls.ts";
import type { Places } from "./places.ts";
import { pull } from "./pull.ts";
import { type Atom, clip, type Draft, hullsOfRegion, type Region } from "./region.ts";
import { cleanSlabs, slabsAcross } from "./slabs.ts";
import type { PlanLimits } from "./types.ts";

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
			hullsOf(pull(draft.expr, clip(draft.box, spans)), places).map((hull) => ({ hull, index })),
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
	if (parts.length === 1) {
		const across = slabsAcross(atom, places, limits);
		return across?.flatMap((slab) => divided(slab, places, limits)) ?? [atom];
	}
	return parts.flatMap(({ region, hulls }) => {
		const isAlone = region.drafts.length === 1;
		const own = atomOf(region, isAlone ? hulls : hullsOfRegion(region, places));
		return divided(own, places, limits);
	});
}
