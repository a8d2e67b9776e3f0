import { invariant } from "../core/errors.ts";
import { at } from "../core/shape.ts";
import { componentsOf, type Component } from "./components.ts";
import { divide } from "./divide.ts";
import { shareOfTile } from "./share-facts.ts";
import { tileTotals } from "./totals.ts";
import type { Plan, PlanEntry, PlanSlab, PlanTensor, PlanTile, PlanTotals } from "./types.ts";

/** A worker's part of a plan, or a thread's part of a worker's. */
export interface PlanShare {
	/**
	 * A plan of its own that fills some of the entries, under indices of its own; offsets, files and their sizes are those of the
	 * whole. Source tensors and notes that it does not need are left out. `totals.writeBytes` are the bytes of its files where it
	 * owns them, and else of its entries; what the totals say of cuts is 0, as nothing is cut for a share.
	 */
	readonly plan: Plan;
	/** Index in the whole plan of every entry of {@link plan}, ascending. */
	readonly entries: Uint32Array;
}

/**
 * One of the shares that `createPlan` cut a plan into: what a worker does. It owns its files: no other share has entries in them.
 * The share of a plan with one is the plan itself.
 *
 * @param index - From 0 up to but not including `plan.shares`.
 */
export function shareOf(plan: Plan, index: number): PlanShare {
	invariant(index >= 0 && index < plan.shares, `share ${index} of ${plan.shares}`);
	if (plan.shares === 1) return { plan, entries: Uint32Array.from(plan.entries.keys()) };
	const entries: number[] = [];
	for (const [entry, { share }] of plan.entries.entries()) if (share === index) entries.push(entry);
	const tiles = plan.tiles.filter((tile) => shareOfTile(plan, tile) === index);
	const own = partOf(plan, Uint32Array.from(entries), tiles);
	const writeBytes = own.plan.files.reduce((sum, { bytes }) => sum + bytes, 0);
	return { ...own, plan: { ...own.plan, totals: { ...own.plan.totals, writeBytes } } };
}

/**
 * Cuts the plan of a worker among the threads of one process: into `count` shares that have neither an entry nor a source byte in
 * common and together do all of it, balanced by the bytes fetched and written, and each from few source files. They may write to
 * one file. All tiles of an entry are in one share, so that whoever runs it alone knows when the entry is finished. Shares beyond
 * what can be parted are empty. Pure: the same on every machine.
 *
 * @param isFinished - Entries of the plan that need no work; they count for nothing, and are still in one share each.
 */
export function divideAmongThreads(
	plan: Plan,
	count: number,
	isFinished: (entry: number) => boolean = () => false,
): readonly PlanShare[] {
	const components = componentsOf(plan, isFinished);
	const weights = components.map(({ bytes }) => bytes);
	return divide(weights, count).map((members) =>
		shareOfComponents(
			plan,
			members.map((index) => at(components, index)),
		),
	);
}

function shareOfComponents(plan: Plan, components: readonly Component[]): PlanShare {
	const entries = components.flatMap((component) => component.entries).toSorted((a, b) => a - b);
	const tiles = components.flatMap((component) => component.tiles).toSorted((a, b) => a - b);
	return partOf(
		plan,
		Uint32Array.from(entries),
		tiles.map((tile) => at(plan.tiles, tile)),
	);
}

/** The plan of some entries, ascending, and of the tiles that fill them and no others. */
function partOf(plan: Plan, entries: Uint32Array, tiles: readonly PlanTile[]): PlanShare {
	return assembleShare(
		plan,
		entries,
		tiles.map((tile) => withEntries(tile, entries)),
	);
}

/**
 * A plan of its own for some entries.
 *
 * @param entries - Their indices in the plan, ascending.
 * @param tiles - What fills them, all of them and no others, under the share's indices.
 */
export function assembleShare(
	plan: Plan,
	entries: Uint32Array,
	tiles: readonly PlanTile[],
): PlanShare {
	const { tensors, entries: ownEntries } = tensorsOf(plan, entries);
	const named = new Set(ownEntries.map(({ file }) => file));
	const files = plan.files.filter(({ name }) => named.has(name));
	return {
		plan: {
			...plan,
			source: sourceOf(plan, tiles),
			tensors,
			entries: ownEntries,
			files,
			tiles,
			dropped: [],
			synthesised: [],
			dequantised: [],
			totals: totalsOf(plan, { tiles, entries: ownEntries, files }),
		},
		entries,
	};
}

/** The same tile under the share's own indices. Entries that follow one another in a slab do so in the share: it has all of them. */
function withEntries(tile: PlanTile, entries: Uint32Array): PlanTile {
	const slabs = tile.slabs.map((slab): PlanSlab => {
		const firstEntry = placeOf(slab.firstEntry, entries);
		return { ...slab, firstEntry, endEntry: firstEntry + slab.endEntry - slab.firstEntry };
	});
	return { ...tile, slabs };
}

/** Where `entry` is in the sorted list. */
function placeOf(entry: number, entries: Uint32Array): number {
	let [low, high] = [0, entries.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if ((entries[middle] ?? 0) < entry) low = middle + 1;
		else high = middle;
	}
	invariant(entries[low] === entry, `entry ${entry} is not in the share`);
	return low;
}

function tensorsOf(
	plan: Plan,
	entries: Uint32Array,
): { readonly tensors: PlanTensor[]; readonly entries: PlanEntry[] } {
	const tensors: PlanTensor[] = [];
	const own: PlanEntry[] = [];
	let last = -1;
	for (const index of entries) {
		const entry = at(plan.entries, index);
		const tensor = at(plan.tensors, entry.tensor);
		const firstEntry = entry.tensor === last ? tensors.pop()?.firstEntry : own.length;
		last = entry.tensor;
		tensors.push({ ...tensor, firstEntry: firstEntry ?? 0, endEntry: own.length + 1 });
		own.push({ ...entry, tensor: tensors.length - 1 });
	}
	return { tensors, entries: own };
}

/** The source with the tensors that lie in what the tiles fetch. Files stay: ranges count them. */
function sourceOf({ source }: Plan, tiles: readonly PlanTile[]): Plan["source"] {
	const fetched = source.files.map((): { start: number; end: number }[] => []);
	for (const { ranges } of tiles) for (const range of ranges) fetched[range.file]?.push(range);
	for (const ranges of fetched) ranges.sort((a, b) => a.start - b.start);
	const files = new Map(source.files.map(({ path }, index) => [path, at(fetched, index)]));
	const next = new Map<string, number>();
	const tensors = source.tensors.filter(({ file, begin, end }) => {
		const ranges = files.get(file) ?? [];
		// Tensors come in the order of their bytes, so that no range before the last one looked at matters.
		let place = next.get(file) ?? 0;
		while ((ranges[place]?.end ?? Infinity) <= begin) place++;
		next.set(file, place);
		return (ranges[place]?.start ?? Infinity) < end;
	});
	return { ...source, tensors, config: undefined };
}

function totalsOf(
	{ limits, totals }: Plan,
	share: Pick<Plan, "tiles" | "entries" | "files">,
): PlanTotals {
	return {
		...tileTotals(share.tiles, limits),
		writeBytes: share.entries.reduce((sum, { length }) => sum + length, 0),
		entries: share.entries.length,
		entriesCut: 0,
		entriesCutForShares: 0,
		files: share.files.length,
		rankBytes: totals.rankBytes,
	};
}
