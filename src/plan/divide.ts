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
	const heaviest = (shares: readonly (readonly number[])[]): number =>
		shares.reduce((max, share) => Math.max(max, weightOf(share, weights)), 0);
	const found = heaviest(inOrder);
	// Nothing is better than this, so that there is no need to look.
	const mean = weights.reduce((sum, weight) => sum + weight, 0) / count;
	const least = weights.reduce((max, weight) => Math.max(max, weight), mean);
	if (found <= least * WORTH_OF_ORDER) return inOrder;
	const dealt = dealOut(weights, count);
	return found <= heaviest(dealt) * WORTH_OF_ORDER ? inOrder : dealt;
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
	const shares = Array.from({ length: count }, (): number[] => []);
	const sums = new Float64Array(count);
	// A heap of shares, the lightest on top; of equal ones the first.
	const heap = Array.from(shares.keys());
	const isLighter = (placeA: number, placeB: number): boolean => {
		const [a, b] = [at(heap, placeA), at(heap, placeB)];
		return ((sums[a] ?? 0) - (sums[b] ?? 0) || a - b) < 0;
	};
	const order = [...weights.keys()].toSorted((a, b) => at(weights, b) - at(weights, a) || a - b);
	for (const item of order) {
		const lightest = at(heap, 0);
		at(shares, lightest).push(item);
		sums[lightest] = (sums[lightest] ?? 0) + at(weights, item);
		for (let place = 0; ;) {
			let least = place;
			for (const child of [2 * place + 1, 2 * place + 2]) {
				if (child < count && isLighter(child, least)) least = child;
			}
			if (least === place) break;
			const other = at(heap, least);
			heap[least] = at(heap, place);
			heap[place] = other;
			place = least;
		}
	}
	return shares.map((items) => items.toSorted((a, b) => a - b));
}
