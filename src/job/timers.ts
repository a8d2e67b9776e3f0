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
