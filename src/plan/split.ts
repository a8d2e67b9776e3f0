import { boxNumel } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import { at } from "../core/shape.ts";
import { type Draft, hullsOfRegion } from "./region.ts";
import { blocksOf } from "./blocks.ts";
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

/** Rows `first` up to but not including `end` of an axis that is `length` long: where the drafts of one tensor lie. */
interface Extent {
	readonly length: number;
	readonly first: number;
	readonly end: number;
}

/** A position of every tensor, the same part of the length of each. */
interface Cut {
	/** What part of the rows comes before it, 0 to 1. */
	readonly part: number;
	readonly positionOf: (tensor: number) => number;
	/** Whether it lies between blocks of elements under one scale. */
	readonly keepsScales: boolean;
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

function extentsOf(drafts: readonly Draft[], axis: number): ReadonlyMap<number, Extent> {
	const extents = new Map<number, Extent>();
	for (const { tensor, expr, box } of drafts) {
		const first = at(box.offset, axis);
		const end = first + at(box.size, axis);
		const known = extents.get(tensor);
		extents.set(tensor, {
			length: at(expr.shape, axis),
			first: Math.min(first, known?.first ?? first),
			end: Math.max(end, known?.end ?? end),
		});
	}
	return extents;
}

/**
 * Cuts near `part` (0 to 1) of the rows, the nearest first: at multiples of every divisor of the axis, which are what rows, heads and
 * blocks are.
 *
 * @param scaled - Rows under one scale: at multiples of these as well, whether they divide the axis or not.
 */
function cutsNear(
	extents: ReadonlyMap<number, Extent>,
	part: number,
	scaled: ReadonlySet<number>,
): readonly Cut[] {
	const [leading] = extents.values();
	if (leading === undefined) return [];
	const { first, end, length } = leading;
	const wanted = first + part * (end - first);
	const positions = new Set<number>();
	for (const unit of new Set([...divisorsOf(length), ...scaled].toSorted((a, b) => a - b))) {
		const lowest = Math.floor(first / unit) + 1;
		const highest = Math.ceil(end / unit) - 1;
		if (lowest > highest) {
			if (scaled.has(unit)) continue;
			break;
		}
		const position = unit * Math.min(highest, Math.max(lowest, Math.round(wanted / unit)));
		// Of an axis that the unit does not divide only this multiple has to have its like in the other tensors.
		const blocks = length % unit === 0 ? length / unit : length / gcd(length, position);
		if ([...extents.values()].every((extent) => extent.length % blocks === 0)) {
			positions.add(position);
		}
	}
	return [...positions].map((position) => ({
		keepsScales: [...scaled].some((rows) => position % rows === 0),
		part: (position - first) / (end - first),
		positionOf: (tensor) =>
			Math.round((position / length) * (extents.get(tensor)?.length ?? length)),
	}));
}

function gcd(a: number, b: number): number {
	return b === 0 ? a : gcd(b, a % b);
}

/** Divisors, ascending. */
function divisorsOf(value: number): readonly number[] {
	const low: number[] = [];
	const high: number[] = [];
	for (let divisor = 1; divisor * divisor <= value; divisor++) {
		if (value % divisor !== 0) continue;
		low.push(divisor);
		if (divisor * divisor !== value) high.push(value / divisor);
	}
	return [...low, ...high.toReversed()];
}

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
