import { HfStreamDcpError } from "../core/errors.ts";
import { PAGE_BYTES, PAGED_FROM_BYTES } from "../core/pages.ts";
import type { PlanLimits } from "./types.ts";

const MiB = 2 ** 20;

/** Below this a tile holds so little that requests would be smaller than their own overhead. */
export const MIN_MEMORY_BYTES: number = 16 * MiB;

/**
 * Ranges of 16–64 MiB are the Hub CDN's sweet spot. Under a small budget the smaller end keeps more of them in flight.
 *
 * @see huggingface_hub and hf_xet defaults; throughput per connection is 40–85 MB/s
 */
const MIN_REQUEST_BYTES = 16 * MiB;
const MAX_REQUEST_BYTES = 64 * MiB;

/** More than this is not used: kernels address memory with 32 bits, and need some of it themselves. */
const MAX_MEMORY_BYTES = 4095 * MiB;

/** No tile reads more, whatever the budget: kernels index its bytes with 31 bits. */
const MAX_TILE_BYTES = 1024 * MiB;

/** Staging memory per source byte at most: a page for each range that is large enough to be shifted. */
const STAGED_PER_SOURCE = 1 + PAGE_BYTES / PAGED_FROM_BYTES;

/** Blocks of staging memory are rounded up to this. */
const STAGING_ROUNDING_BYTES = 64;

/** Tiles that should be under way at once: being received, being worked off, being written. */
const TILES_AT_ONCE = 8;

/**
 * What of a budget is not for staging and buffers: the plan, connections, and what V8 sets aside while it works. Measured on Node
 * 20.20: 25–60 MiB above an idle process.
 */
const MAX_RESERVE_BYTES = 96 * MiB;
const RESERVE_PART = 1 / 2;

/** What of the stream's memory is for write buffers, at most. */
const WRITE_BUFFER_PART = 1 / 10;

/** Sizes are multiples of this. */
const SIZE_UNIT_BYTES = 64 * 1024;

/**
 * The sizes a memory budget leads to.
 *
 * @param budgetBytes - What a thread may take beyond what Node itself takes when it does nothing. What staging and buffers
 * would take beyond 4095 MiB stays unused.
 * @throws {HfStreamDcpError} `BUDGET_EXCEEDED` below {@link MIN_MEMORY_BYTES}.
 */
export function limitsFor(budgetBytes: number): PlanLimits {
	if (!Number.isSafeInteger(budgetBytes) || budgetBytes < MIN_MEMORY_BYTES) {
		throw new HfStreamDcpError(
			"BUDGET_EXCEEDED",
			`a memory budget of ${budgetBytes} bytes is too small to stream with`,
			{ hint: `Give at least --memory ${MIN_MEMORY_BYTES / MiB}MiB.`, facts: { budgetBytes } },
		);
	}
	const reserveBytes = Math.min(MAX_RESERVE_BYTES, budgetBytes * RESERVE_PART);
	const memoryBytes = floorTo(
		Math.min(budgetBytes - reserveBytes, MAX_MEMORY_BYTES),
		SIZE_UNIT_BYTES,
	);
	const writeBufferBytes = Math.min(
		16 * MiB,
		floorTo(memoryBytes * WRITE_BUFFER_PART, SIZE_UNIT_BYTES),
	);
	const stagingBytes = memoryBytes - writeBufferBytes;
	const tileBytes = floorTo(stagingBytes / TILES_AT_ONCE, SIZE_UNIT_BYTES);
	return {
		budgetBytes,
		memoryBytes,
		writeBufferBytes,
		tileBytes: Math.min(MAX_REQUEST_BYTES, tileBytes),
		maxTileBytes: Math.min(
			MAX_TILE_BYTES,
			floorTo((stagingBytes / 2 - STAGING_ROUNDING_BYTES) / STAGED_PER_SOURCE, 64),
		),
		requestBytes: Math.min(MAX_REQUEST_BYTES, Math.max(MIN_REQUEST_BYTES, tileBytes)),
	};
}

/** A budget, bytes, whose {@link limitsFor} allow a tile that reads `sourceBytes`: two fit beside the write buffers. */
export function budgetForTile(sourceBytes: number): number {
	const staging = 2 * (sourceBytes * STAGED_PER_SOURCE + 2 * STAGING_ROUNDING_BYTES);
	const memoryBytes = staging / (1 - WRITE_BUFFER_PART);
	const reserve = Math.min(MAX_RESERVE_BYTES, (memoryBytes * RESERVE_PART) / (1 - RESERVE_PART));
	return memoryBytes + reserve + 2 * SIZE_UNIT_BYTES;
}

function floorTo(value: number, multiple: number): number {
	return Math.floor(value / multiple) * multiple;
}
