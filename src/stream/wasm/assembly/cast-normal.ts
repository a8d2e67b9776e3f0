/**
 * Casts of 8 neighbours at half the cost, for weights as they are: no NaN, and normal numbers of float16 where that is one of the
 * types. Types as in `cast.ts`.
 */

/** What lies between the exponents of float16 and of the others, in the place where bfloat16 has its exponent. */
const REBIAS: i16 = 112 << 7;

@inline
/** Whether {@link narrowNormal} takes these float32 bits. */
export function areNormal<T>(low: v128, high: v128): bool {
	if (!isSigned<T>()) return !v128.any_true(v128.or(f32x4.ne(low, low), f32x4.ne(high, high)));
	// One comparison for both: of numbers without sign, the larger one is the first to leave the range.
	const largest = i32x4.max_u(aboveSmallest(low), aboveSmallest(high));
	return !v128.any_true(i32x4.ge_u(largest, i32x4.splat(0x477ff000 - 0x38800000)));
}

@inline
/** 8 elements of 16 bits from float32 bits. */
export function narrowNormal<T>(low: v128, high: v128): v128 {
	if (!isSigned<T>()) return i16x8.narrow_i32x4_u(roundHigh(low), roundHigh(high));
	const magnitudes = i16x8.narrow_i32x4_u(roundToHalf(low), roundToHalf(high));
	const upper = v128.shuffle<u16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
	return v128.or(magnitudes, v128.and(upper, i16x8.splat(-0x8000)));
}

@inline
/** The upper halves of the lanes, rounded to nearest and even. */
function roundHigh(bits: v128): v128 {
	const odd = v128.and(i32x4.shr_u(bits, 16), i32x4.splat(1));
	return i32x4.shr_u(i32x4.add(i32x4.add(bits, i32x4.splat(0x7fff)), odd), 16);
}

@inline
/** How far above the smallest normal float16 a float32 lies, its sign aside; what lies below wraps around and is large. */
function aboveSmallest(bits: v128): v128 {
	return i32x4.sub(v128.and(bits, i32x4.splat(0x7fffffff)), i32x4.splat(0x38800000));
}

@inline
/** The float16 of a float32 without its sign, if it is normal. */
function roundToHalf(bits: v128): v128 {
	const magnitude = v128.and(bits, i32x4.splat(0x7fffffff));
	const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
	const rebiased = i32x4.add(magnitude, i32x4.splat(0xfff - (112 << 23)));
	return i32x4.shr_u(i32x4.add(rebiased, odd), 13);
}

@inline
/** From 16 bits. Lanes stay 16 bits wide: a float32 is put together of two. Returns whether it did it. */
export function castNormal<S, T>(target: usize, source: usize): bool {
	const bits = v128.load(source);
	const magnitude = v128.and(bits, i16x8.splat(0x7fff));
	if (!isSigned<S>() && sizeof<T>() === 4) {
		if (v128.any_true(i16x8.gt_s(magnitude, i16x8.splat(0x7f80)))) return false;
		storePairs(target, i16x8.splat(0), bits);
		return true;
	}
	const sign = v128.xor(bits, magnitude);
	if (!isSigned<S>()) {
		const fromSmallest = i16x8.sub(magnitude, i16x8.splat(0x3880));
		if (v128.any_true(i16x8.ge_u(fromSmallest, i16x8.splat(0x4780 - 0x3880)))) return false;
		const rebiased = i16x8.sub(magnitude, i16x8.splat(REBIAS));
		v128.store(target, v128.or(sign, i16x8.shl(rebiased, 3)));
		return true;
	}
	const fromSmallest = i16x8.sub(magnitude, i16x8.splat(0x400));
	if (v128.any_true(i16x8.ge_u(fromSmallest, i16x8.splat(0x7800)))) return false;
	if (sizeof<T>() === 4) {
		const high = i16x8.add(i16x8.shr_u(magnitude, 3), i16x8.splat(REBIAS));
		storePairs(target, i16x8.shl(bits, 13), v128.or(sign, high));
		return true;
	}
	const odd = v128.and(i16x8.shr_u(magnitude, 3), i16x8.splat(1));
	const rounded = i16x8.shr_u(i16x8.add(i16x8.add(magnitude, i16x8.splat(3)), odd), 3);
	v128.store(target, v128.or(sign, i16x8.add(rounded, i16x8.splat(REBIAS))));
	return true;
}

@inline
/** Stores 8 lanes of 32 bits, given by their lower and their upper halves. */
function storePairs(target: usize, low: v128, high: v128): void {
	v128.store(target, v128.shuffle<u16>(low, high, 0, 8, 1, 9, 2, 10, 3, 11));
	v128.store(target, v128.shuffle<u16>(low, high, 4, 12, 5, 13, 6, 14, 7, 15), 16);
}
