import type { CastDtype } from "../../src/stream/cpu/float-bits.ts";

/** Bits of the mantissa field, and the exponent of the smallest normal number. */
const FORMATS = {
	float32: { bits: 32, mantissa: 23, minExponent: -126, nan: 0x7fc00000 },
	float16: { bits: 16, mantissa: 10, minExponent: -14, nan: 0x7e00 },
	bfloat16: { bits: 16, mantissa: 7, minExponent: -126, nan: 0x7fc0 },
} as const;

/** The value of a bit pattern by the definition of IEEE 754, in exact arithmetic on doubles. */
export function valueOf(pattern: number, dtype: CastDtype): number {
	const { bits, mantissa, minExponent } = FORMATS[dtype];
	const negative = pattern >= 2 ** (bits - 1);
	const magnitude = negative ? pattern - 2 ** (bits - 1) : pattern;
	const field = Math.floor(magnitude / 2 ** mantissa);
	const fraction = magnitude % 2 ** mantissa;
	const specials = 2 ** (bits - 1 - mantissa) - 1;
	let value: number;
	if (field === specials) value = fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
	else if (field === 0) value = fraction * 2 ** (minExponent - mantissa);
	else value = (2 ** mantissa + fraction) * 2 ** (field - 1 + minExponent - mantissa);
	return negative ? -value : value;
}

/** The nearest bit pattern, ties to the even one: by rounding a count of units in the last place. */
export function patternOf(value: number, dtype: CastDtype): number {
	const { bits, mantissa, minExponent, nan } = FORMATS[dtype];
	if (Number.isNaN(value)) return nan;
	const sign = value < 0 || Object.is(value, -0) ? 2 ** (bits - 1) : 0;
	const magnitude = Math.abs(value);
	const infinity = (2 ** (bits - 1 - mantissa) - 1) * 2 ** mantissa;
	if (magnitude === Number.POSITIVE_INFINITY) return sign + infinity;
	if (magnitude === 0) return sign;
	// The logarithm is an estimate; the comparisons decide.
	let exponent = Math.max(minExponent, Math.floor(Math.log2(magnitude)) - 1);
	while (magnitude >= 2 ** (exponent + 1)) exponent++;
	const units = magnitude / 2 ** (exponent - mantissa);
	const floor = Math.floor(units);
	const rest = units - floor;
	const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
	// Patterns count units: a carry out of the mantissa arrives in the exponent, and one out of the last exponent in infinity.
	return sign + Math.min(infinity, (exponent - minExponent) * 2 ** mantissa + rounded);
}
