// Fair comparison on a noisy machine: runs in pairs, ratios within a pair, the median of the ratios.

/**
 * Runs every variant once per pair. The order is reversed in every second pair, so that none profits from its place.
 *
 * @template T
 * @param {object} options
 * @param {Record<string, (pair: number) => Promise<T> | T>} options.variants by name
 * @param {number} options.pairs
 * @param {number} [options.warmup] pairs whose results are thrown away. Default 1.
 * @returns {Promise<Record<string, T>[]>} one record of results per pair
 */
export async function interleave({ variants, pairs, warmup = 1 }) {
	const names = Object.keys(variants);
	const results = [];
	for (let pair = -warmup; pair < pairs; pair++) {
		const order = pair % 2 === 0 ? names : names.toReversed();
		const record = {};
		for (const name of order) record[name] = await variants[name](pair);
		if (pair >= 0) results.push(record);
	}
	return results;
}

/**
 * The middle of `values`; of an even number, the mean of the two in the middle.
 *
 * @param {readonly number[]} values
 */
export function median(values) {
	const sorted = values.toSorted((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @param {readonly number[]} values
 * @returns {{ median: number, min: number, max: number }}
 */
export function spread(values) {
	return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * The ratio of two variants in every pair.
 *
 * @template T
 * @param {readonly Record<string, T>[]} runs
 * @param {string} above
 * @param {string} below
 * @param {(result: T) => number} pick
 */
export function ratios(runs, above, below, pick) {
	return runs.map((run) => pick(run[above]) / pick(run[below]));
}
