import { rangeBytes } from "./footprint.ts";
import type { RankLoads } from "./place.ts";
import type { Plan, PlanLimits, PlanTotals } from "./types.ts";

/** What tiles promise. */
export function tileTotals(
	tiles: Plan["tiles"],
	limits: PlanLimits,
): Pick<PlanTotals, "fetchBytes" | "requests" | "memoryBytes" | "largestTileBytes"> {
	let fetchBytes = 0;
	let requests = 0;
	let stagingBytes = 0;
	let largestTileBytes = 0;
	for (const tile of tiles) {
		fetchBytes += rangeBytes(tile.ranges);
		for (const { start, end } of tile.ranges) {
			requests += Math.ceil((end - start) / limits.requestBytes);
		}
		stagingBytes += tile.stagingBytes;
		largestTileBytes = Math.max(largestTileBytes, tile.stagingBytes);
	}
	const memoryBytes = Math.min(limits.memoryBytes, stagingBytes + limits.writeBufferBytes);
	return { fetchBytes, requests, memoryBytes, largestTileBytes };
}

/** Adds up what the plan promises. */
export function totalsOf(plan: {
	readonly tiles: Plan["tiles"];
	readonly entries: Plan["entries"];
	readonly files: Plan["files"];
	readonly limits: PlanLimits;
	readonly loads: RankLoads;
	/** Shards of the layout. */
	readonly shards: number;
	/** Blocks after they were cut to fit into memory. */
	readonly fitted: number;
}): PlanTotals {
	const { owned } = plan.loads;
	return {
		...tileTotals(plan.tiles, plan.limits),
		writeBytes: plan.files.reduce((sum, file) => sum + file.bytes, 0),
		entries: plan.entries.length,
		entriesCut: plan.fitted - plan.shards,
		entriesCutForShares: plan.entries.length - plan.fitted,
		files: plan.files.length,
		rankBytes: {
			min: owned.reduce((min, bytes) => Math.min(min, bytes), Number.POSITIVE_INFINITY),
			max: owned.reduce((max, bytes) => Math.max(max, bytes), 0),
		},
	};
}
