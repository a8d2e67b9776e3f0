/** Decides when finished entries become durable. */
export interface Flusher {
	/** Starts a flush when it is time. Waits while the sink is a whole window behind. */
	pace(): Promise<void>;
}

/**
 * Bytes in the page cache that are not synced yet, at most, when a flush begins. As many may follow while it lasts: enough to keep
 * a disk busy, and too few for the system to stall everybody who writes.
 */
const WINDOW_BYTES = 256 * 2 ** 20;

/** A killed run loses about this much finished work. */
const FLUSH_MS = 5_000;

/** Most of the time that may go into flushes that nothing but the clock asks for: with thousands of files each takes long. */
const MAX_FLUSH_SHARE = 1 / 20;

/** What a flusher looks at and does. */
export interface FlusherOptions {
	/** Never rejects. */
	readonly flush: () => Promise<unknown>;
	/** Bytes written so far that a crash may lose although the disk has no say in it: those in the page cache. */
	readonly bufferedBytes: () => number;
	/** Milliseconds of a clock that never goes back. */
	readonly now: () => number;
}

/** Flushes about every 256 MiB of buffered bytes or five seconds, one at a time, while writing goes on. */
export function createFlusher({ flush, bufferedBytes, now }: FlusherOptions): Flusher {
	let bytesAtLast = 0;
	let last = now();
	let pauseMs = FLUSH_MS;
	let inProgress: Promise<void> | undefined;
	const flushOnce = async (): Promise<void> => {
		bytesAtLast = bufferedBytes();
		last = now();
		await flush();
		pauseMs = Math.max(FLUSH_MS, (now() - last) / MAX_FLUSH_SHARE);
		inProgress = undefined;
	};
	const isFull = (): boolean => bufferedBytes() - bytesAtLast >= WINDOW_BYTES;
	return {
		async pace() {
			// A slow disk: let the clock run, but no third window of dirty pages pile up.
			if (isFull() && inProgress !== undefined) await inProgress;
			if (isFull() || now() - last >= pauseMs) inProgress ??= flushOnce();
		},
	};
}
