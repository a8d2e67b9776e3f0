/** Smallest and largest of 64-bit integers, exactly. */
export interface WideExtremes {
	/** Takes `count` integers: lower and upper halves in turn. */
	add(halves: Uint32Array, count: number): void;
	/** `undefined` of none; a number where it holds the integer exactly. */
	min(): number | bigint | undefined;
	max(): number | bigint | undefined;
}

/** The integer of two halves of 32 bits; a number where it holds it exactly. */
export function integerOf(lower: number, upper: number): number | bigint {
	const whole = BigInt(upper) * 4_294_967_296n + BigInt(lower);
	const number = Number(whole);
	return Number.isSafeInteger(number) ? number : whole;
}

/** Compares halves instead of making integers of them. */
export function createWideExtremes(isSigned: boolean): WideExtremes {
	// With the sign bit turned over, signed upper halves are in the order of unsigned ones.
	const turned = isSigned ? 0x8000_0000 : 0;
	let isEmpty = true;
	let [minUpper, minLower, maxUpper, maxLower] = [0, 0, 0, 0];
	const integer = (upper: number, lower: number): number | bigint | undefined =>
		isEmpty ? undefined : integerOf(lower, isSigned ? upper - 2 ** 31 : upper);
	return {
		add(halves, count) {
			if (isEmpty && count > 0) {
				isEmpty = false;
				minUpper = maxUpper = ((halves[1] ?? 0) ^ turned) >>> 0;
				minLower = maxLower = halves[0] ?? 0;
			}
			for (let i = 0; i < count; i++) {
				const lower = halves[2 * i] ?? 0;
				const upper = ((halves[2 * i + 1] ?? 0) ^ turned) >>> 0;
				if (upper < minUpper || (upper === minUpper && lower < minLower)) {
					minUpper = upper;
					minLower = lower;
				}
				if (upper > maxUpper || (upper === maxUpper && lower > maxLower)) {
					maxUpper = upper;
					maxLower = lower;
				}
			}
		},
		min: () => integer(minUpper, minLower),
		max: () => integer(maxUpper, maxLower),
	};
}
