import { HfStreamDcpError } from "../core/errors.ts";
import type { Layout } from "../core/layout.ts";
import { at } from "../core/shape.ts";
import { exactRanges, stagingBytesOf, unionRanges } from "./footprint.ts";
import { type Holders, holdersOf, rankMask } from "./held-entries.ts";
import { hullsOf } from "./hulls.ts";
import { boxIn } from "./parts.ts";
import { type Places, placesOf } from "./places.ts";
import { pull } from "./pull.ts";
import { assembleShare, type PlanShare } from "./share.ts";
import type { Plan, PlanRange, PlanSlab, PlanTile, PlanTotals } from "./types.ts";

/**
 * What of a request a gap in the source must be to be left out: below it, fetching what nobody needs takes less time than asking
 * twice. About 1 MiB under the default limits, 25 ms of one connection.
 */
const GAP_PART = 1 / 16;

/** Source runs of a tile that are looked at: where there are more, the gaps between them are far too small. */
const MAX_RUNS = 4096;

/** Makes the shares of workers that have no disk in common. */
export interface LocalShares {
	/**
	 * What a worker does that stands for some ranks of the training job: exactly the entries that any of them holds, at the same
	 * files and offsets as in the whole checkpoint, so that its files have holes. Source bytes that lie between what it needs are
	 * fetched where leaving them out would take longer, and are counted.
	 *
	 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when there are no ranks, or one of them is no rank of the job.
	 */
	shareOf(ranks: readonly number[]): PlanShare;
	/** What a whole job comes to, whose workers stand for these ranks. @throws {HfStreamDcpError} as `shareOf`. */
	costOf(workers: readonly (readonly number[])[]): LocalCost;
}

/** What it costs that workers have no disk in common. */
export interface LocalCost {
	/** The totals of every worker. */
	readonly workers: readonly PlanTotals[];
	/** Weight bytes that all workers fetch beyond those of one conversion: what several need, and what lies between. */
	readonly extraFetchBytes: number;
	/** Bytes of entries that all workers write beyond one checkpoint: replicas. */
	readonly extraWriteBytes: number;
}

/**
 * Prepares the shares of workers with disks of their own (`--local-output`).
 *
 * @param plan - Of one share: the file names must not depend on who writes them.
 * @param layout - The one that the plan was made with.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for a plan of several shares.
 */
export function localSharesOf(plan: Plan, layout: Layout): LocalShares {
	if (plan.shares !== 1) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`a plan in ${plan.shares} shares is for workers that write to one directory`,
			{ hint: "With --local-output every worker writes what its own ranks hold." },
		);
	}
	const holders = holdersOf(plan, layout);
	const places = placesOf(plan);
	const shareOf = (ranks: readonly number[]): PlanShare =>
		localShare(plan, rankMask(plan.worldSize, ranks), holders, places);
	return {
		shareOf,
		costOf: (workers) => {
			const totals = workers.map((ranks) => shareOf(ranks).plan.totals);
			const sum = (count: (one: PlanTotals) => number): number =>
				totals.reduce((all, one) => all + count(one), 0);
			const written = plan.entries.reduce((all, { length }) => all + length, 0);
			return {
				workers: totals,
				extraFetchBytes: sum(({ fetchBytes }) => fetchBytes) - plan.totals.fetchBytes,
				extraWriteBytes: sum(({ writeBytes }) => writeBytes) - written,
			};
		},
	};
}

function localShare(plan: Plan, mask: Uint8Array, holders: Holders, places: Places): PlanShare {
	const entries = holders.entriesOf(mask);
	// One more than the share's own index; 0 for the entries of others.
	const own = new Uint32Array(plan.entries.length);
	for (const [index, entry] of entries.entries()) own[entry] = index + 1;
	const tiles = plan.tiles.flatMap((tile) => {
		const slabs = tile.slabs.flatMap((slab) => ownSlab(slab, own));
		if (slabs.length === 0) return [];
		const isWhole = countEntries(slabs) === countEntries(tile.slabs);
		return isWhole ? [{ ...tile, slabs }] : [partialTile(plan, tile, slabs, entries, places)];
	});
	return assembleShare(plan, entries, tiles);
}

/** The entries of a slab that are the share's own: they follow one another there, whatever lies between them in the plan. */
function ownSlab(slab: PlanSlab, own: Uint32Array): readonly PlanSlab[] {
	let first = 0;
	let count = 0;
	for (let entry = slab.firstEntry; entry < slab.endEntry; entry++) {
		const index = own[entry] ?? 0;
		if (index === 0) continue;
		if (count++ === 0) first = index - 1;
	}
	return count === 0 ? [] : [{ firstEntry: first, endEntry: first + count, spans: slab.spans }];
}

function countEntries(slabs: readonly PlanSlab[]): number {
	return slabs.reduce((sum, { firstEntry, endEntry }) => sum + endEntry - firstEntry, 0);
}

/** A tile of which the share fills only some entries, with the source ranges that are worth fetching for them. */
function partialTile(
	plan: Plan,
	tile: PlanTile,
	slabs: readonly PlanSlab[],
	entries: Uint32Array,
	places: Places,
): PlanTile {
	const hulls = slabs.flatMap(({ firstEntry, endEntry, spans }) =>
		[...entries.subarray(firstEntry, endEntry)].flatMap((index) => {
			const entry = at(plan.entries, index);
			const { expr } = at(plan.tensors, entry.tensor);
			return hullsOf(pull(expr, boxIn(entry.box, spans)), places);
		}),
	);
	const exact = exactRanges(hulls, MAX_RUNS);
	if (exact === undefined) return { ...tile, slabs };
	const ranges = withoutSmallGaps(exact, tile.ranges, plan.limits.requestBytes * GAP_PART);
	return { ranges, stagingBytes: stagingBytesOf(ranges), slabs };
}

/** Joins ranges whose gap is smaller than `gapBytes` and lies in the tile's own bytes: those of another tile are not to be had. */
function withoutSmallGaps(
	exact: readonly PlanRange[],
	allowed: readonly PlanRange[],
	gapBytes: number,
): readonly PlanRange[] {
	const bridges: PlanRange[] = [];
	let place = 0;
	for (const [index, { file, end }] of exact.entries()) {
		const next = exact[index + 1];
		if (next === undefined || next.file !== file || next.start - end >= gapBytes) continue;
		while (isBefore(allowed[place], file, end)) place++;
		const around = allowed[place];
		if (around === undefined || around.file !== file || around.end < next.start) continue;
		bridges.push({ file, start: end, end: next.start });
	}
	return unionRanges([...exact, ...bridges]);
}

/** Whether a range ends before a position. */
function isBefore(range: PlanRange | undefined, file: number, position: number): boolean {
	return (
		range !== undefined && (range.file < file || (range.file === file && range.end < position))
	);
}
