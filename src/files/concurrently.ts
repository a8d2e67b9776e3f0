/** Requests to a file system at once: enough for a network file system to answer side by side, and few enough for any. */
const AT_ONCE = 16;

/**
 * Calls `work` for every item, 16 at a time. The first failure rejects; what was begun ends before.
 */
export async function forEachAtOnce<T>(
	items: Iterable<T>,
	work: (item: T) => Promise<void>,
): Promise<void> {
	const queue = items[Symbol.iterator]();
	let failure: { readonly error: unknown } | undefined;
	const run = async (): Promise<void> => {
		for (let next = queue.next(); next.done !== true; next = queue.next()) {
			if (failure !== undefined) return;
			try {
				await work(next.value);
			} catch (error) {
				failure ??= { error };
			}
		}
	};
	await Promise.all(Array.from({ length: AT_ONCE }, run));
	if (failure !== undefined) throw failure.error;
}
