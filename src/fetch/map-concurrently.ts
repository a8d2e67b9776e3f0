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
	signal?.throwIfAborted();
	const stop = new AbortController();
	const combined = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
	const results: R[] = [];
	const queue = items.entries();
	const failures: unknown[] = [];
	const work = async (): Promise<void> => {
		for (const [index, item] of queue) {
			if (combined.aborted) return;
			try {
				results[index] = await task(item, combined);
			} catch (error) {
				failures.push(error);
				stop.abort(error);
			}
		}
	};
	await Promise.all(Array.from({ length: Math.min(limit, items.length) }, work));
	signal?.throwIfAborted();
	if (failures.length > 0) throw failures[0];
	return results;
}
