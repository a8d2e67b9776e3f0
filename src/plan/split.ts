import { boxNumel } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import { at } from "../core/shape.ts";
import { type Draft, hullsOfRegion } from "./region.ts";
import { blocksOf } from "./blocks.ts";
import { type Cut, cutsNear, extentsOf } from "./cut-positions.ts";
import { fitDrafts } from "./cut.ts";
import { compareRanges } from "./footprint.ts";
import { type Group, groupsOf } from "./groups.ts";
import type { Places } from "./places.ts";
import type { PlanLimits } from "./types.ts";

/** What a group is cut with. */
export interface SplitContext {
	readonly places: Places;
	readonly limits: PlanLimits;
	/** Bytes that a draft will take in its file. */
	readonly lengthOf: (draft: Draft) => number;
}

/**
 * Cuts a group into groups that share no source byte, along the target axis that follows the source's outermost dimension. Its
 * drafts become more drafts, as in `fitDrafts`.
 *
 * @param seams - Where to cut: costs of what comes before, ascending, more than 0 and less than that of the group. Cuts are as near
 * as the tensors allow: between rows, heads, experts.
 * @returns In source order; `undefined` when no cut leaves the source bytes apart, or the blocks are so small that none is worth it.
 */
export function splitGroup(
	group: Group,
	seams: readonly number[],
	context: SplitContext,
): readonly Group[] | undefined {
	if (containerBytes(group, context) > MAX_CONTAINER_PART * group.bytes) return undefined;
	const pieces = cutDrafts({ drafts: group.drafts, start: 0, end: group.bytes }, seams, context);
	if (pieces.length < 2) return undefined;
	const fitted = pieces.map((drafts) => fitDrafts(drafts, context.places, context.limits));
	return groupsOf(
		fitted.flatMap(({ atoms }) => atoms),
		context.lengthOf,
	);
}

/** Drafts, and what those before them cost, without and with them: a guess, in proportion to rows. */
interface Stretch {
	readonly drafts: readonly Draft[];
	readonly start: number;
	readonly end: number;
}

/** Cuts at the seam in the middle first, so that no draft is looked at more often than the logarithm of the number of seams. */
function cutDrafts(
	stretch: Stretch,
	seams: readonly number[],
	context: SplitContext,
): readonly (readonly Draft[])[] {
	const { drafts, start, end } = stretch;
	const seam = seams[seams.length >> 1];
	if (seam === undefined) return [drafts];
	const halves = splitNear(drafts, (seam - start) / (end - start), context.places);
	if (halves === undefined) return [drafts];
	const middle = start + halves.part * (end - start);
	const slack = MIN_PIECE * (end - start);
	return [
		...cutDrafts(
			{ drafts: halves.before, start, end: middle },
			seams.filter((other) => other !== seam && other < middle - slack),
			context,
		),
		...cutDrafts(
			{ drafts: halves.after, start: middle, end },
			seams.filter((other) => other !== seam && other > middle + slack),
			context,
		),
	];
}

/** Guards against a seam that rounding puts on the cut itself. */
const MIN_PIECE = 1e-9;

/**
 * What of a group's cost may be prefixes and suffixes of entries. Each half of a cut has as many of them, so that beyond this a
 * cut would rather add bytes than divide them.
 */
const MAX_CONTAINER_PART = 1 / 4;

function containerBytes({ drafts }: Group, { lengthOf }: SplitContext): number {
	return drafts.reduce((sum, draft) => {
		return sum + lengthOf(draft) - boxNumel(draft.box) * itemBytes(draft.expr.dtype);
	}, 0);
}

interface Halves {
	readonly before: readonly Draft[];
	readonly after: readonly Draft[];
	/** As in {@link Cut}. */
	readonly part: number;
}

/** The halves of a cut near `part` of the drafts, along the first axis that has one. */
function splitNear(drafts: readonly Draft[], part: number, places: Places): Halves | undefined {
	const axes = drafts.reduce((min, { box }) => Math.min(min, box.size.length), Infinity);
	for (let axis = 0; axis < axes; axis++) {
		const halves = splitAlong(drafts, axis, part, places);
		if (halves !== undefined) return halves;
	}
	return undefined;
}

function splitAlong(
	drafts: readonly Draft[],
	axis: number,
	part: number,
	places: Places,
): Halves | undefined {
	const cuts = cutsNear(extentsOf(drafts, axis), part, blocksOf(drafts));
	const known = new Map<Cut, Halves | undefined>();
	const attempt = (cut: Cut): Halves | undefined => {
		if (known.has(cut)) return known.get(cut);
		const halves = halve(drafts, axis, cut);
		const apart = areApart(halves, places) ? halves : undefined;
		known.set(cut, apart);
		return apart;
	};
	// Along an axis that the source interleaves even the coarsest cuts do not help.
	const coarse = cuts.filter(
		({ keepsScales }, index) => keepsScales || index >= cuts.length - MAX_FUTILE_CUTS,
	);
	if (coarse.every((cut) => attempt(cut) === undefined)) return undefined;
	for (const cut of cuts) {
		const halves = attempt(cut);
		if (halves !== undefined) return halves;
	}
	return undefined;
}

/** A cut at a power of two and one at an even share, as in `fitDrafts`. */
const MAX_FUTILE_CUTS = 2;

function halve(drafts: readonly Draft[], axis: number, cut: Cut): Halves {
	const before: Draft[] = [];
	const after: Draft[] = [];
	for (const draft of drafts) {
		const { offset, size } = draft.box;
		const first = at(offset, axis);
		const rows = at(size, axis);
		const position = cut.positionOf(draft.tensor);
		if (first + rows <= position) before.push(draft);
		else if (first >= position) after.push(draft);
		else {
			const kept = position - first;
			before.push({ ...draft, box: { offset, size: size.with(axis, kept) } });
			after.push({
				...draft,
				box: { offset: offset.with(axis, position), size: size.with(axis, rows - kept) },
			});
		}
	}
	return { before, after, part: cut.part };
}

/** Whether the source bytes of the halves do not interleave. */
function areApart({ before, after }: Halves, places: Places): boolean {
	if (before.length === 0 || after.length === 0) return false;
	const hulls = [before, after]
		.flatMap((drafts, half) =>
			hullsOfRegion({ drafts, spans: [] }, places).map((hull) => ({ hull, half })),
		)
		.toSorted((a, b) => compareRanges(a.hull, b.hull));
	const ends = [0, 0];
	let file = -1;
	for (const { hull, half } of hulls) {
		if (hull.file !== file) ends.fill(0);
		file = hull.file;
		if (hull.start < at(ends, 1 - half)) return false;
		ends[half] = Math.max(at(ends, half), hull.end);
	}
	return true;
}
