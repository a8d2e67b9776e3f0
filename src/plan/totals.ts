import { rangeBytes } from "./footprint.ts";
import type { RankLoads } from "./place.ts";
import type { Plan, PlanLimits, PlanTotals } from "./types.ts";

/** Requests that tiles become. */
export function requestsOf(tiles: Plan["tiles"], limits: PlanLimits): number {
	let requests = 0;
	for (const { ranges } of tiles) {
		for (const { start, end } of ranges) requests += Math.ceil((end - start) / limits.requestBytes);
	}
	return requests;
}

/** Most memory a stream takes whose tiles take this much in all. */
export function memoryOf(stagingBytes: number, limits: PlanLimits): number {
	return Math.min(limits.memoryBytes, stagingBytes + limits.writeBufferBytes);
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
}): PlanTotals {
	let fetchBytes = 0;
	let stagingBytes = 0;
	let largestTileBytes = 0;
	for (const tile of plan.tiles) {
		fetchBytes += rangeBytes(tile.ranges);
		stagingBytes += tile.stagingBytes;
		largestTileBytes = Math.max(largestTileBytes, tile.stagingBytes);
	}
	const { owned } = plan.loads;
	return {
		fetchBytes,
		requests: requestsOf(plan.tiles, plan.limits),
		writeBytes: plan.files.reduce((sum, file) => sum + file.bytes, 0),
		entries: plan.entries.length,
		entriesCut: plan.entries.length - plan.shards,
		files: plan.files.length,
		memoryBytes: memoryOf(stagingBytes, plan.limits),
		largestTileBytes,
		rankBytes: {
			min: owned.reduce((min, bytes) => Math.min(min, bytes), Number.POSITIVE_INFINITY),
			max: owned.reduce((max, bytes) => Math.max(max, bytes), 0),
		},
	};
}
