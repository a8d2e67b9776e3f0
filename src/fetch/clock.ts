/** Time as the fetch layer sees it; tests put their own in its place. */
export interface Clock {
	/** Milliseconds on a clock that never goes back. */
	now(): number;
	/** Resolves after `ms`; rejects with `signal.reason` as soon as the signal aborts. */
	wait(ms: number, signal?: AbortSignal): Promise<void>;
	/** A number in [0, 1), for jitter. */
	random(): number;
}

/** The machine's clock. */
export const systemClock: Clock = {
	now: () => performance.now(),
	random: () => Math.random(),
	wait: (ms, signal) =>
		abortable(signal, (resolve) => {
			const timer = setTimeout(resolve, ms);
			return () => clearTimeout(timer);
		}),
};

/**
 * A promise that an abort settles at once, rejected with `signal.reason`.
 *
 * @param start - Begins the work and returns what undoes it; the undo runs exactly once, when the promise settles.
 */
export function abortable<T>(
	signal: AbortSignal | undefined,
	start: (resolve: (value: T) => void, reject: (reason: unknown) => void) => () => void,
): Promise<T> {
	return new Promise((resolve, reject) => {
		if (signal?.aborted === true) {
			reject(signal.reason as Error);
			return;
		}
		let undo: (() => void) | undefined;
		let settled = false;
		const settle = (): void => {
			settled = true;
			signal?.removeEventListener("abort", onAbort);
			undo?.();
			undo = undefined;
		};
		const onAbort = (): void => {
			reject(signal?.reason as Error);
			settle();
		};
		signal?.addEventListener("abort", onAbort, { once: true });
		undo = start(
			(value) => {
				resolve(value);
				settle();
			},
			(reason) => {
				reject(reason);
				settle();
			},
		);
		// Work that settled while it was being started had nothing to undo yet.
		if (settled) settle();
	});
}

/** Waits for work that others wait for too: an abort ends this wait, not the work. */
export function abortableWait<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
	return abortable(signal, (resolve, reject) => {
		work.then(resolve, reject);
		return () => {};
	});
}
