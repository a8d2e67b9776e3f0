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
	/** Most bytes that were on loan at any one time. */
	readonly peakBytes: number;
	/**
	 * Waits for `bytes` of contiguous memory. Requests are served in the order they are made: a large one is not overtaken by
	 * small ones for ever.
	 *
	 * This cannot deadlock as long as a holder returns its lease without asking for another: all leases come back, free
	 * neighbours join, and then all of the memory is there for whoever waits first.
	 *
	 * @throws {HfStreamDcpError} `BUDGET_EXCEEDED` when `bytes` exceeds {@link capacityBytes}; `signal.reason` when aborted.
	 */
	reserve(bytes: number, signal: AbortSignal): Promise<Lease>;
}

interface Waiter {
	readonly bytes: number;
	readonly grant: (lease: Lease) => void;
}

/** An arena that lends the bytes of `memory`. */
export function createArena(memory: Uint8Array): Arena {
	const capacityBytes = memory.length;
	const free = createFreeList(capacityBytes);
	const waiting = new Set<Waiter>();
	let usedBytes = 0;
	let peakBytes = 0;

	const tryLend = (bytes: number): Lease | undefined => {
		const start = free.take(bytes);
		if (start === undefined) return undefined;
		usedBytes += bytes;
		peakBytes = Math.max(peakBytes, usedBytes);
		let isReleased = false;
		return {
			bytes: memory.subarray(start, start + bytes),
			release: () => {
				invariant(!isReleased, "a lease was released twice");
				isReleased = true;
				usedBytes -= bytes;
				free.give(start, bytes);
				serve();
			},
		};
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
		get peakBytes() {
			return peakBytes;
		},
		async reserve(bytes, signal) {
			signal.throwIfAborted();
			if (bytes > capacityBytes) throw tooLarge(bytes, capacityBytes);
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

function tooLarge(bytes: number, capacityBytes: number): HfStreamDcpError {
	return new HfStreamDcpError(
		"BUDGET_EXCEEDED",
		`a block of ${bytes} bytes does not fit into the staging memory of ${capacityBytes} bytes`,
		{ hint: "Give a larger --memory.", facts: { bytes, capacityBytes } },
	);
}
