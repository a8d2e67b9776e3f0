/** A fixed set of things that are handed out one at a time each. */
export interface Pool<T> {
	/** Waits for an item; served in the order of the calls. */
	acquire(): Promise<T>;
	/** Hands an item on, or puts it back. */
	release(item: T): void;
}

/** A pool of `items`; with one item a mutex. */
export function createPool<T>(items: Iterable<T>): Pool<T> {
	const free = [...items];
	const waiting: ((item: T) => void)[] = [];
	return {
		async acquire() {
			const item = free.shift();
			if (item !== undefined) return item;
			return await new Promise<T>((resolve) => waiting.push(resolve));
		},
		release(item) {
			const next = waiting.shift();
			if (next === undefined) free.push(item);
			else next(item);
		},
	};
}
