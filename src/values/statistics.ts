/** What a tensor's elements are like. Of complex numbers `min`, `max`, `mean` and `std` are those of the magnitudes. */
export interface TensorStatistics {
	readonly elements: number;
	readonly nan: number;
	/** Of either sign. */
	readonly inf: number;
	/** Of either sign. */
	readonly zeros: number;
	/**
	 * Smallest and largest of the elements that are not NaN, infinities included; `undefined` when there are none. `bigint` where a number
	 * does not hold the integer exactly.
	 */
	readonly min: number | bigint | undefined;
	readonly max: number | bigint | undefined;
	/** Of the finite elements, in float64; `undefined` when there are none. */
	readonly mean: number | undefined;
	/** Of the finite elements, in float64, with Bessel's correction as in `torch.std`; `undefined` of fewer than two. */
	readonly std: number | undefined;
}

/** Takes the elements of a tensor, in any order, and says what they are like. */
export interface Meter {
	/**
	 * Takes the elements in `bytes`: whole ones, little-endian.
	 *
	 * @param place - Orders what is given, so that the result does not depend on which came first: rounding is the same on every run.
	 */
	add(place: number, bytes: Uint8Array): void;
	result(): TensorStatistics;
}
