import { at } from "../core/shape.ts";

/** A contiguous division is taken when its largest share is at most this many times that of the best one found. */
const WORTH_OF_ORDER = 1.05;

/**
 * Divides items into `count` shares of about equal weight. Shares that are contiguous in the order given are preferred, because
 * neighbours come from the same file; where they cannot be balanced, the heaviest items are dealt out first, each to the lightest
 * share.
 *
 * @returns For every share the indices of its items, ascending.
 */
export function divide(weights: readonly number[], count: number): readonly (readonly number[])[] {
	const inOrder = divideInOrder(weights, count);
	const dealt = dealOut(weights, count);
	const heaviest = (shares: readonly (readonly number[])[]): number =>
		shares.reduce((max, share) => Math.max(max, weightOf(share, weights)), 0);
	return heaviest(inOrder) <= heaviest(dealt) * WORTH_OF_ORDER ? inOrder : dealt;
}

function weightOf(share: readonly number[], weights: readonly number[]): number {
	return share.reduce((sum, item) => sum + at(weights, item), 0);
}

/** The contiguous division whose heaviest share is lightest, to within a byte. */
function divideInOrder(weights: readonly number[], count: number): number[][] {
	let low = weights.reduce((max, weight) => Math.max(max, weight), 0);
	let high = weights.reduce((sum, weight) => sum + weight, 0);
	while (high - low > 1) {
		const middle = low + (high - low) / 2;
		if (fill(weights, middle).length <= count) high = middle;
		else low = middle;
	}
	const shares = fill(weights, fill(weights, low).length <= count ? low : high);
	while (shares.length < count) shares.push([]);
	return shares;
}

/** As many items in a row as weigh at most `limit`, again and again. */
function fill(weights: readonly number[], limit: number): number[][] {
	const shares: number[][] = [[]];
	let sum = 0;
	for (const [item, weight] of weights.entries()) {
		if (sum + weight > limit && sum > 0) {
			shares.push([]);
			sum = 0;
		}
		at(shares, shares.length - 1).push(item);
		sum += weight;
	}
	return shares;
}

/** Longest processing time first: never more than 4/3 of the best division (Graham 1969). */
function dealOut(weights: readonly number[], count: number): number[][] {
	const shares = Array.from({ length: count }, (): { items: number[]; sum: number } => {
		return { items: [], sum: 0 };
	});
	const order = [...weights.keys()].toSorted((a, b) => at(weights, b) - at(weights, a) || a - b);
	for (const item of order) {
		const lightest = shares.reduce((best, share) => (share.sum < best.sum ? share : best));
		lightest.items.push(item);
		lightest.sum += at(weights, item);
	}
	return shares.map(({ items }) => items.toSorted((a, b) => a - b));
}
