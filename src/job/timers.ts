/** Time as the job sees it; tests put their own in its place. */
export interface Timers {
	/** Milliseconds of a clock that never goes back. */
	now(): number;
	/** Calls `tick` every `intervalMs` until the returned function is called. Does not keep the process alive. */
	every(intervalMs: number, tick: () => void): () => void;
	/** Resolves after `ms`; rejects with `signal.reason` as soon as the signal aborts. */
	wait(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The machine's clock. */
export const systemTimers: Timers = {
	now: () => performance.now(),
	every(intervalMs, tick) {
		const timer = setInterval(tick, intervalMs);
		timer.unref();
		return () => clearInterval(timer);
	},
	wait: (ms, signal) =>
		new Promise((resolve, reject) => {
			if (signal?.aborted === true) {
				reject(signal.reason as Error);
				return;
			}
			const stop = (): void => {
				clearTimeout(timer);
				reject(signal?.reason as Error);
			};
			const timer = setTimeout(() => {
				signal?.removeEventListener("abort", stop);
				resolve();
			}, ms);
			signal?.addEventListener("abort", stop, { once: true });
		}),
};

/** The first of the growing waits. */
const FIRST_WAIT_MS = 50;

/** How much longer each is than the one before. */
const GROWTH = 1.5;

/**
 * Waits again and again for something that may come soon, and need not be looked for often if it does not.
 *
 * @param mostMs - The longest of the waits, milliseconds, on average.
 * @returns Called for each wait; each is longer than the one before, give or take a half.
 */
export function growingWaits(
	timers: Timers,
	mostMs: number,
	signal?: AbortSignal,
): () => Promise<void> {
	let nextMs = Math.min(FIRST_WAIT_MS, mostMs);
	return async () => {
		const ms = nextMs;
		nextMs = Math.min(mostMs, nextMs * GROWTH);
		// A thousand workers that wait for the same thing must not look all at once.
		await timers.wait(ms * (0.5 + Math.random()), signal);
	};
}
