/** Decides when finished entries become durable. */
export interface Flusher {
	/** Notes `bytes` written and starts a flush when it is time. Waits only when the disk is a whole interval behind. */
	wrote(bytes: number): Promise<void>;
}

/** After this many bytes the dirty pages are written back, so that they never pile up. */
const FLUSH_BYTES = 2 ** 30;

/** A killed run loses about this much finished work. */
const FLUSH_MS = 5_000;

/**
 * Flushes about every GiB or five seconds, one at a time, while writing goes on.
 *
 * @param flush - Never rejects.
 * @param now - Milliseconds of a clock that never goes back.
 */
export function createFlusher(flush: () => Promise<unknown>, now: () => number): Flusher {
	let bytesSince = 0;
	let last = now();
	let inProgress: Promise<void> | undefined;
	const flushOnce = async (): Promise<void> => {
		bytesSince = 0;
		last = now();
		await flush();
		inProgress = undefined;
	};
	return {
		async wrote(bytes) {
			bytesSince += bytes;
			const isFull = bytesSince >= FLUSH_BYTES;
			// A slow disk: let the clock run, but no second GiB of dirty pages pile up.
			if (isFull && inProgress !== undefined) await inProgress;
			if (isFull || now() - last >= FLUSH_MS) inProgress ??= flushOnce();
		},
	};
}
