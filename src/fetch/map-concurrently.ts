import pLimit from "p-limit";

/**
 * Runs `task` on every item, at most `limit` at a time, and returns the results in the order of the items. The first
 * failure aborts the signal of all others; the promise rejects with it when none runs any more.
 */
export async function mapConcurrently<T, R>(
	items: readonly T[],
	limit: number,
	task: (item: T, signal: AbortSignal) => Promise<R>,
	signal?: AbortSignal,
): Promise<R[]> {
	const stop = new AbortController();
	const combined = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
	const turn = pLimit(limit);
	const tasks = items.map((item) =>
		turn(async () => {
			combined.throwIfAborted();
			try {
				return await task(item, combined);
			} catch (error) {
				stop.abort(error);
				throw error;
			}
		}),
	);
	await Promise.allSettled(tasks);
	combined.throwIfAborted();
	return Promise.all(tasks);
}
