import { rangeBytes } from "./footprint.ts";
import type { RankLoads } from "./place.ts";
import type { Plan, PlanLimits, PlanRange, PlanTotals } from "./types.ts";

/** Requests that one range becomes. */
function requestsOf(range: PlanRange, requestBytes: number): number {
	return Math.ceil((range.end - range.start) / requestBytes);
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
	let requests = 0;
	let largestTileBytes = 0;
	for (const tile of plan.tiles) {
		fetchBytes += rangeBytes(tile.ranges);
		stagingBytes += tile.stagingBytes;
		largestTileBytes = Math.max(largestTileBytes, tile.stagingBytes);
		for (const range of tile.ranges) requests += requestsOf(range, plan.limits.requestBytes);
	}
	const { memoryBytes, writeBufferBytes } = plan.limits;
	const { owned } = plan.loads;
	return {
		fetchBytes,
		requests,
		writeBytes: plan.files.reduce((sum, file) => sum + file.bytes, 0),
		entries: plan.entries.length,
		entriesCut: plan.entries.length - plan.shards,
		files: plan.files.length,
		memoryBytes: Math.min(memoryBytes, stagingBytes + writeBufferBytes),
		largestTileBytes,
		rankBytes: {
			min: owned.reduce((min, bytes) => Math.min(min, bytes), Number.POSITIVE_INFINITY),
			max: owned.reduce((max, bytes) => Math.max(max, bytes), 0),
		},
	};
}
