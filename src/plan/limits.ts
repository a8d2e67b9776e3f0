import { HfStreamDcpError } from "../core/errors.ts";
import type { PlanLimits } from "./types.ts";

const MiB = 2 ** 20;

/** Below this a tile holds so little that requests would be smaller than their own overhead. */
export const MIN_MEMORY_BYTES: number = 16 * MiB;

/**
 * Ranges of 16-64 MiB are the Hub CDN's sweet spot; the smaller end keeps more of them in flight under one budget.
 *
 * @see huggingface_hub and hf_xet defaults; throughput per connection is 40-85 MB/s
 */
const REQUEST_BYTES = 16 * MiB;

/** Largest tile made without need: two requests. */
const TILE_BYTES = 32 * MiB;

/** No tile is larger, whatever the budget: the stream's memory consists of contiguous blocks of this size. */
const MAX_TILE_BYTES = 1024 * MiB;

/**
 * The sizes a memory budget leads to.
 *
 * @param memoryBytes - Staging and write buffers together.
 * @throws {HfStreamDcpError} `BUDGET_EXCEEDED` below {@link MIN_MEMORY_BYTES}.
 */
export function limitsFor(memoryBytes: number): PlanLimits {
	if (!Number.isSafeInteger(memoryBytes) || memoryBytes < MIN_MEMORY_BYTES) {
		throw new HfStreamDcpError(
			"BUDGET_EXCEEDED",
			`a memory budget of ${memoryBytes} bytes is too small to stream with`,
			{ hint: `Give at least --memory ${MIN_MEMORY_BYTES / MiB}MiB.`, facts: { memoryBytes } },
		);
	}
	const writeBufferBytes = Math.min(32 * MiB, floorTo(memoryBytes / 16, 64 * 1024));
	const stagingBytes = memoryBytes - writeBufferBytes;
	return {
		memoryBytes,
		writeBufferBytes,
		tileBytes: Math.min(TILE_BYTES, floorTo(stagingBytes / 8, 64 * 1024)),
		maxTileBytes: Math.min(MAX_TILE_BYTES, floorTo(stagingBytes / 2, 64)),
		requestBytes: REQUEST_BYTES,
	};
}

function floorTo(value: number, multiple: number): number {
	return Math.floor(value / multiple) * multiple;
}
