import { HfStreamDcpError, invariant } from "../core/errors.ts";
import { createFreeList } from "./free-list.ts";

/** Memory on loan from an {@link Arena}. */
export interface Lease {
	/** Exactly the bytes asked for; what they hold is undefined. */
	readonly bytes: Uint8Array;
	/** Gives the memory back. Nothing may read or write {@link bytes} any more. Once. */
	release(): void;
}

/** A fixed amount of memory, lent piece by piece. */
export interface Arena {
	readonly capacityBytes: number;
	/** The largest lease there can be. */
	readonly maxLeaseBytes: number;
	/** Most bytes that were on loan at any one time. */
	readonly peakBytes: number;
	/**
	 * Waits for `bytes` of contiguous memory. Requests are served in the order they are made: a large one is not overtaken by
	 * small ones for ever.
	 *
	 * This cannot deadlock as long as a holder returns its lease without asking for another: all leases come back, free
	 * neighbours join, and then a whole slab is there for whoever waits first.
	 *
	 * @throws {HfStreamDcpError} `BUDGET_EXCEEDED` when `bytes` exceeds {@link maxLeaseBytes}; `signal.reason` when aborted.
	 */
	reserve(bytes: number, signal: AbortSignal): Promise<Lease>;
}

/** Larger arenas consist of several blocks of this size: kernels index with 32-bit integers, and a Node 20 buffer ends at 4 GiB. */
const SLAB_BYTES = 2 ** 30;

interface Waiter {
	readonly bytes: number;
	readonly grant: (lease: Lease) => void;
}

/**
 * Allocates an arena. The memory is reserved at once and touched only when used, so the process grows with the leases.
 *
 * @param slabBytes - Largest contiguous block, and so the largest lease. @default 1 GiB
 */
export function createArena(capacityBytes: number, slabBytes: number = SLAB_BYTES): Arena {
	const slabs = Array.from({ length: Math.ceil(capacityBytes / slabBytes) }, (_, index) => {
		const bytes = Math.min(slabBytes, capacityBytes - index * slabBytes);
		// Not pooled, not zeroed: pages that no lease has touched cost nothing.
		return { memory: Buffer.allocUnsafeSlow(bytes), free: createFreeList(bytes) };
	});
	const maxLeaseBytes = Math.min(capacityBytes, slabBytes);
	const waiting = new Set<Waiter>();
	let usedBytes = 0;
	let peakBytes = 0;

	const tryLend = (bytes: number): Lease | undefined => {
		for (const { memory, free } of slabs) {
			const start = free.take(bytes);
			if (start === undefined) continue;
			usedBytes += bytes;
			peakBytes = Math.max(peakBytes, usedBytes);
			let isReleased = false;
			return {
				bytes: new Uint8Array(memory.buffer, memory.byteOffset + start, bytes),
				release: () => {
					invariant(!isReleased, "a lease was released twice");
					isReleased = true;
					usedBytes -= bytes;
					free.give(start, bytes);
					serve();
				},
			};
		}
		return undefined;
	};
	const serve = (): void => {
		for (const waiter of waiting) {
			const lease = tryLend(waiter.bytes);
			if (lease === undefined) return;
			waiting.delete(waiter);
			waiter.grant(lease);
		}
	};

	return {
		capacityBytes,
		maxLeaseBytes,
		get peakBytes() {
			return peakBytes;
		},
		async reserve(bytes, signal) {
			signal.throwIfAborted();
			if (bytes > maxLeaseBytes) throw tooLarge(bytes, maxLeaseBytes);
			if (bytes === 0) return { bytes: new Uint8Array(0), release: () => {} };
			return await new Promise<Lease>((resolve, reject) => {
				const onAbort = (): void => {
					waiting.delete(waiter);
					reject(signal.reason);
					// The next in line may fit where this one did not.
					serve();
				};
				const waiter: Waiter = {
					bytes,
					grant: (lease) => {
						signal.removeEventListener("abort", onAbort);
						resolve(lease);
					},
				};
				signal.addEventListener("abort", onAbort, { once: true });
				waiting.add(waiter);
				serve();
			});
		},
	};
}

function tooLarge(bytes: number, maxLeaseBytes: number): HfStreamDcpError {
	return new HfStreamDcpError(
		"BUDGET_EXCEEDED",
		`a block of ${bytes} bytes does not fit into the staging memory of at most ${maxLeaseBytes} bytes in one piece`,
		{ hint: "Give a larger --memory.", facts: { bytes, maxLeaseBytes } },
	);
}
