import { at } from "../core/shape.ts";
import { tileTotals } from "./totals.ts";
import type { Plan, PlanTile, PlanTotals } from "./types.ts";

/** What one share of a plan comes to; the same figures as the totals of its `PlanShare`. */
export interface ShareFacts extends Pick<
	PlanTotals,
	"fetchBytes" | "requests" | "writeBytes" | "entries" | "memoryBytes"
> {
	/** The data files that are its own. */
	readonly files: Plan["files"];
	/** Source files that it reads from. */
	readonly sourceFiles: number;
}

/** How evenly bytes, fetched and written, are divided. */
export interface Balance {
	/** Of the heaviest share. */
	readonly maxBytes: number;
	/** Over all shares, empty ones included. */
	readonly meanBytes: number;
	/** Shares that have nothing to do: more workers than the model has parts. */
	readonly emptyShares: number;
}

/** What every share of a plan comes to, without making plans of them: one pass over the plan. Pure. */
export function shareFactsOf(plan: Plan): readonly ShareFacts[] {
	const shares = Array.from({ length: plan.shares }, () => {
		return { tiles: [] as PlanTile[], files: [] as Plan["files"][number][], entries: 0 };
	});
	const owners = new Map<string, number>();
	for (const { share, file } of plan.entries) {
		at(shares, share).entries++;
		owners.set(file, share);
	}
	for (const tile of plan.tiles) at(shares, shareOfTile(plan, tile)).tiles.push(tile);
	for (const file of plan.files) at(shares, owners.get(file.name) ?? 0).files.push(file);
	return shares.map(({ tiles, files, entries }) => {
		const { fetchBytes, requests, memoryBytes } = tileTotals(tiles, plan.limits);
		const writeBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
		const sources = new Set(tiles.flatMap(({ ranges }) => ranges.map(({ file }) => file)));
		return {
			fetchBytes,
			requests,
			writeBytes,
			entries,
			memoryBytes,
			files,
			sourceFiles: sources.size,
		};
	});
}

/** The share that a tile belongs to. */
export function shareOfTile(plan: Pick<Plan, "entries">, { slabs }: PlanTile): number {
	return at(plan.entries, at(slabs, 0).firstEntry).share;
}

/** How evenly shares, or other parts of a plan, are divided. */
export function balanceOf(
	shares: readonly Pick<ShareFacts, "fetchBytes" | "writeBytes" | "entries">[],
): Balance {
	const loads = shares.map(({ fetchBytes, writeBytes }) => fetchBytes + writeBytes);
	return {
		maxBytes: loads.reduce((max, load) => Math.max(max, load), 0),
		meanBytes: loads.reduce((sum, load) => sum + load, 0) / shares.length,
		emptyShares: shares.filter(({ entries }) => entries === 0).length,
	};
}
