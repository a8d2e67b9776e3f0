/**
 * Sums that lose nothing that matters: Neumaier's compensated sum for the mean, and squared distances from the mean of each part, put
 * together as Chan, Golub and LeVeque do. All in float64.
 *
 * @see Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
 */
export interface Moments {
	/** How many values. */
	count: number;
	/** Their sum is `sum + lost`. */
	sum: number;
	lost: number;
	/** Sum of the squared distances from their mean. */
	squares: number;
}

/** The moments of nothing. */
export function emptyMoments(): Moments {
	return { count: 0, sum: 0, lost: 0, squares: 0 };
}

/** Mean of at least one value. */
export function meanOf({ count, sum, lost }: Moments): number {
	return (sum + lost) / count;
}

/** Standard deviation with Bessel's correction, as `torch.std`; of at least two values. */
export function deviationOf({ count, squares }: Moments): number {
	return Math.sqrt(squares / (count - 1));
}

/** Adds `value` to the compensated sum; the caller counts. */
export function addToSum(moments: Moments, value: number): void {
	const sum = moments.sum + value;
	moments.lost +=
		Math.abs(moments.sum) >= Math.abs(value)
			? moments.sum - sum + value
			: value - sum + moments.sum;
	moments.sum = sum;
}

/** Adds the values of `more` to `moments`. */
export function mergeMoments(moments: Moments, more: Moments): void {
	if (more.count === 0) return;
	if (moments.count === 0) moments.squares = more.squares;
	else {
		const count = moments.count + more.count;
		const distance = meanOf(more) - meanOf(moments);
		moments.squares += more.squares + distance * distance * ((moments.count * more.count) / count);
	}
	moments.count += more.count;
	addToSum(moments, more.sum);
	addToSum(moments, more.lost);
}

/** The moments of the same values times `factor`, a power of two. */
export function scaleMoments({ count, sum, lost, squares }: Moments, factor: number): Moments {
	return { count, sum: sum * factor, lost: lost * factor, squares: squares * factor * factor };
}
