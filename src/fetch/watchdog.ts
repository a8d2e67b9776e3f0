import type { Clock } from "./clock.ts";

/** What {@link watchThroughput} needs to know. */
export interface ThroughputWatch {
	readonly clock: Clock;
	readonly windowMs: number;
	readonly minBytesPerSecond: number;
	/** Bytes received so far. */
	readonly received: () => number;
	/** Called once, with the bytes of the window that was too slow. */
	readonly tooSlow: (bytes: number) => void;
}

/**
 * Calls `tooSlow` when fewer bytes than the minimum arrive in one of a row of windows. A peer that sends one byte now and then
 * never trips an idle timeout; this is what ends it.
 *
 * @returns Stops the watch.
 */
export function watchThroughput(watch: ThroughputWatch): () => void {
	const stop = new AbortController();
	const minimum = (watch.minBytesPerSecond * watch.windowMs) / 1000;
	const run = async (): Promise<void> => {
		let before = watch.received();
		for (;;) {
			await watch.clock.wait(watch.windowMs, stop.signal);
			const now = watch.received();
			if (now - before < minimum) return watch.tooSlow(now - before);
			before = now;
		}
	};
	// The only rejection is that of the wait, when the watch is stopped.
	run().catch(() => {});
	return () => stop.abort();
}
