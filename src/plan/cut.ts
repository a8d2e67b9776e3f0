import { formatBox } from "../core/box.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { sourcesOf } from "../core/expr.ts";
import { at } from "../core/shape.ts";
import { atomsOf, components } from "./atoms.ts";
import { blocksOf } from "./blocks.ts";
import { budgetForTile } from "./limits.ts";
import type { Places } from "./places.ts";
import type { Atom, Draft, Region } from "./region.ts";
import type { PlanLimits } from "./types.ts";

/** What some drafts became: cut further where memory demands it, and their atoms. */
export interface FittedDrafts {
	readonly drafts: readonly Draft[];
	readonly atoms: readonly Atom[];
}

/**
 * Makes the atoms of drafts that share source tensors. Where one is larger than the memory allows, the drafts that
 * interleave with it are cut into more entries, along the target axis that follows the source's outermost dimension. DCP
 * reads several chunks of a rank as well as one.
 *
 * @throws {HfStreamDcpError} `BUDGET_EXCEEDED` when no cut makes them fit.
 */
export function fitDrafts(
	drafts: readonly Draft[],
	places: Places,
	limits: PlanLimits,
): FittedDrafts {
	const whole = { drafts, spans: [] };
	const atoms = atomsOf(whole, places, limits);
	if (largestAtom(atoms) <= limits.maxTileBytes) return { drafts, atoms };
	const fitted = components(whole, places).map((component) =>
		fitComponent(component, places, limits),
	);
	return {
		drafts: fitted.flatMap((one) => one.drafts),
		atoms: fitted.flatMap((one) => one.atoms),
	};
}

function fitComponent(component: Region, places: Places, limits: PlanLimits): FittedDrafts {
	const { drafts } = component;
	const atoms = atomsOf(component, places, limits);
	const largest = largestAtom(atoms);
	if (largest <= limits.maxTileBytes) return { drafts, atoms };
	let best: FittedDrafts | undefined;
	const axes = drafts.reduce((min, { box }) => Math.min(min, box.size.length), Infinity);
	for (let axis = 0; axis < axes; axis++) {
		const cut = cutAlong(drafts, axis, largest, places, limits);
		if (cut !== undefined && (best === undefined || cut.drafts.length < best.drafts.length)) {
			best = cut;
		}
	}
	if (best === undefined) throw tooLarge(at(drafts, 0), largest, limits);
	return best;
}

function largestAtom(atoms: readonly Atom[]): number {
	return atoms.reduce((max, atom) => Math.max(max, atom.bytes), 0);
}

function cutAlong(
	drafts: readonly Draft[],
	axis: number,
	largest: number,
	places: Places,
	limits: PlanLimits,
): FittedDrafts | undefined {
	const blocks = blocksOf(drafts);
	// Scales that neighbours share join drafts that lie one after the other: all of them together are cut.
	const longest = blocks.size > 0 ? extentOf(drafts, axis) : longestOf(drafts, axis);
	// Cutting one axis shrinks an atom by that factor at most, so no larger block can help.
	const first = Math.floor((longest * limits.maxTileBytes) / largest);
	let before = largest;
	let futile = 0;
	for (const block of blockSizes(longest, first, blocks)) {
		const pieces = drafts.flatMap((draft) => cutDraft(draft, axis, block));
		const atoms = atomsOf({ drafts: pieces, spans: [] }, places, limits);
		const after = largestAtom(atoms);
		if (after <= limits.maxTileBytes) return { drafts: pieces, atoms };
		// Along an axis that the source interleaves, no block helps, however small.
		if (after >= before && ++futile === MAX_FUTILE_CUTS) return undefined;
		before = Math.min(before, after);
	}
	return undefined;
}

function longestOf(drafts: readonly Draft[], axis: number): number {
	return drafts.reduce((max, { box }) => Math.max(max, at(box.size, axis)), 0);
}

function extentOf(drafts: readonly Draft[], axis: number): number {
	const first = drafts.reduce((min, { box }) => Math.min(min, at(box.offset, axis)), Infinity);
	return drafts.reduce((max, { box }) => {
		return Math.max(max, at(box.offset, axis) + at(box.size, axis) - first);
	}, 0);
}

/** One try at a power of two and one at an even share: both keep to head boundaries where there are any. */
const MAX_FUTILE_CUTS = 2;

/**
 * Block sizes worth trying, largest first: powers of two and even shares, which keep to head and block boundaries.
 *
 * @param scaled - Rows under one scale. What is larger keeps to multiples of one of them.
 */
function blockSizes(length: number, most: number, scaled: ReadonlySet<number>): readonly number[] {
	const sizes = new Set<number>();
	for (let share = length; share >= 1; share = Math.floor(share / 2)) sizes.add(share);
	for (let power = 1; power < length; power *= 2) sizes.add(power);
	for (const rows of scaled) sizes.add(Math.floor(most / rows) * rows);
	const keepsScales = (size: number): boolean =>
		[...scaled].every((rows) => size < rows) || [...scaled].some((rows) => size % rows === 0);
	return [...sizes]
		.filter((size) => size >= 1 && size <= most && size < length && keepsScales(size))
		.toSorted((a, b) => b - a);
}

/** Cuts at multiples of `block`, counted from the start of the global tensor so that siblings are cut alike. */
function cutDraft(draft: Draft, axis: number, block: number): Draft[] {
	const first = at(draft.box.offset, axis);
	const end = first + at(draft.box.size, axis);
	const pieces: Draft[] = [];
	for (let start = first; start < end;) {
		const stop = Math.min(end, (Math.floor(start / block) + 1) * block);
		pieces.push({
			...draft,
			box: {
				offset: draft.box.offset.with(axis, start),
				size: draft.box.size.with(axis, stop - start),
			},
		});
		start = stop;
	}
	return pieces;
}

function tooLarge(draft: Draft, bytes: number, limits: PlanLimits): HfStreamDcpError {
	const names = sourcesOf(draft.expr).map((source) => source.name);
	const needed = Math.ceil(budgetForTile(bytes) / 2 ** 20);
	return new HfStreamDcpError(
		"BUDGET_EXCEEDED",
		`${names[0] ?? "a tensor"} cannot be resharded with a budget of ${limits.budgetBytes} bytes: block ${formatBox(draft.box)} needs ${bytes} source bytes at once`,
		{ hint: `Give at least --memory ${needed}MiB.`, facts: { sources: names, bytes } },
	);
}
