import { HfStreamDcpError } from "../core/errors.ts";
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

/** No tile is larger, whatever the budget: kernels index its bytes with 31 bits. */
const MAX_TILE_BYTES = 1024 * MiB;

/** Tiles that should be under way at once: being received, being worked off, being written. */
const TILES_AT_ONCE = 8;

/**
 * What of a budget is not for staging and buffers: the plan, connections, and what V8 sets aside while it works. Measured on Node
 * 20.20: 25–60 MiB above an idle process.
 */
const MAX_RESERVE_BYTES = 96 * MiB;
const RESERVE_PART = 3 / 8;

/**
 * The sizes a memory budget leads to.
 *
 * @param budgetBytes - What a worker may take beyond what Node itself takes when it does nothing. What staging and buffers
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
	const memoryBytes = floorTo(Math.min(budgetBytes - reserveBytes, MAX_MEMORY_BYTES), 64 * 1024);
	const writeBufferBytes = Math.min(16 * MiB, floorTo(memoryBytes / 10, 64 * 1024));
	const stagingBytes = memoryBytes - writeBufferBytes;
	const tileBytes = floorTo(stagingBytes / TILES_AT_ONCE, 64 * 1024);
	return {
		budgetBytes,
		memoryBytes,
		writeBufferBytes,
		tileBytes: Math.min(MAX_REQUEST_BYTES, tileBytes),
		maxTileBytes: Math.min(MAX_TILE_BYTES, floorTo(stagingBytes / 2, 64)),
		requestBytes: Math.min(MAX_REQUEST_BYTES, Math.max(MIN_REQUEST_BYTES, tileBytes)),
	};
}

function floorTo(value: number, multiple: number): number {
	return Math.floor(value / multiple) * multiple;
}
