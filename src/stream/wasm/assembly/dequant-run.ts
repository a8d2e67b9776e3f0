import { narrow, withOneNaN } from "./cast";
import { decodeBytes, e2m1Doubles } from "./elements";

/**
 * Runs of elements that share a scale and are contiguous on both sides. `C` stands for a codec as in `elements.ts`, `T` for a dtype
 * as in `cast.ts`.
 */

/**
 * `count` elements times `scale`: the product is a float32, rounded once to `T`. What is left of fewer elements than are taken at a time
 * goes through `scratch`. Elements of half a byte begin with the lower half.
 */
export function runOf<C, T>(
	target: usize,
	source: usize,
	count: usize,
	scale: f32,
	scratch: usize,
): void {
	const atOnce: usize = isBoolean<C>() ? 32 : 8;
	const rest = count & (atOnce - 1);
	const whole = count - rest;
	dequantWhole<C, T>(target, source, whole, scale);
	if (rest === 0) return;
	const first = isBoolean<C>() ? whole / 2 : whole;
	const bytes = isBoolean<C>() ? (rest + 1) / 2 : rest;
	const made = scratch + 32;
	memory.copy(scratch, source + first, bytes);
	dequantWhole<C, T>(made, scratch, atOnce, scale);
	memory.copy(target + whole * sizeof<T>(), made, rest * sizeof<T>());
}

@inline
function dequantWhole<C, T>(target: usize, source: usize, count: usize, scale: f32): void {
	if (!isBoolean<C>()) dequantBytes<C, T>(target, source, count, scale);
	else if (sizeof<T>() === 4) dequantHalves(target, source, count, scale);
	else lookUpHalves<T>(target, source, count, scale);
}

/** A multiple of 8 elements of a byte. Two vectors at a time: what a loop costs itself is a third of the time otherwise. */
function dequantBytes<C, T>(target: usize, source: usize, count: usize, scale: f32): void {
	const scales = f32x4.splat(scale);
	const end = source + count;
	for (; source + 8 < end; source += 16) {
		storeProducts<T>(target, decodeBytes<C>(source), scales);
		storeProducts<T>(target + 8 * sizeof<T>(), decodeBytes<C>(source + 8), scales);
		target += 16 * sizeof<T>();
	}
	if (source < end) storeProducts<T>(target, decodeBytes<C>(source), scales);
}

/**
 * A multiple of 32 elements of half a byte, as float32. `scale` is half of what it is and the elements are doubled. No product is a NaN.
 */
function dequantHalves(target: usize, source: usize, count: usize, scale: f32): void {
	const scales = f32x4.splat(scale);
	const values = e2m1Doubles();
	const negative = v128.or(values, i16x8.splat(-0x8000));
	const low = evenBytes(values, negative);
	const high = oddBytes(values, negative);
	for (const end = source + count / 2; source < end; source += 16) {
		const bytes = v128.load(source);
		const first = firstCodes(bytes);
		const last = lastCodes(bytes);
		storeSixteen(target, i8x16.swizzle(low, first), i8x16.swizzle(high, first), scales);
		storeSixteen(target + 64, i8x16.swizzle(low, last), i8x16.swizzle(high, last), scales);
		target += 128;
	}
}

@inline
function storeSixteen(target: usize, low: v128, high: v128, scales: v128): void {
	const first = lowerPairs(low, high);
	const last = upperPairs(low, high);
	v128.store(target, lowerProducts(first, scales));
	v128.store(target, upperProducts(first, scales), 16);
	v128.store(target, lowerProducts(last, scales), 32);
	v128.store(target, upperProducts(last, scales), 48);
}

/** As {@link dequantHalves}, as 16 bits: all products are made once and looked up. */
function lookUpHalves<T>(target: usize, source: usize, count: usize, scale: f32): void {
	const positive = e2m1Products<T>(f32x4.splat(scale));
	const negative = v128.or(positive, i16x8.splat(-0x8000));
	const low = evenBytes(positive, negative);
	const high = oddBytes(positive, negative);
	for (const end = source + count / 2; source < end; source += 16) {
		const bytes = v128.load(source);
		const first = firstCodes(bytes);
		const last = lastCodes(bytes);
		storePairs(target, i8x16.swizzle(low, first), i8x16.swizzle(high, first));
		storePairs(target + 32, i8x16.swizzle(low, last), i8x16.swizzle(high, last));
		target += 64;
	}
}

@inline
/** The products of the codes from 0 to 7. A bfloat16 holds every one of them exactly. */
function e2m1Products<T>(scales: v128): v128 {
	const low = lowerProducts(e2m1Doubles(), scales);
	const high = upperProducts(e2m1Doubles(), scales);
	if (isSigned<T>()) return narrow<T>(low, high);
	return i16x8.narrow_i32x4_u(i32x4.shr_u(low, 16), i32x4.shr_u(high, 16));
}

@inline
function storePairs(target: usize, low: v128, high: v128): void {
	v128.store(target, lowerPairs(low, high));
	v128.store(target, upperPairs(low, high), 16);
}

@inline
/** 8 products as `T` of 16 bits. */
function products<T>(elements: v128, scales: v128): v128 {
	return narrow<T>(lowerProducts(elements, scales), upperProducts(elements, scales));
}

@inline
/** Stores the products of 8 bfloat16 and their scale. */
function storeProducts<T>(target: usize, elements: v128, scales: v128): void {
	if (sizeof<T>() === 2) {
		v128.store(target, products<T>(elements, scales));
		return;
	}
	const low = lowerProducts(elements, scales);
	const high = upperProducts(elements, scales);
	if (v128.any_true(v128.or(f32x4.ne(low, low), f32x4.ne(high, high)))) {
		v128.store(target, withOneNaN(low));
		v128.store(target, withOneNaN(high), 16);
	} else {
		v128.store(target, low);
		v128.store(target, high, 16);
	}
}

@inline
function lowerProducts(elements: v128, scales: v128): v128 {
	const zero = i16x8.splat(0);
	return f32x4.mul(v128.shuffle<u16>(zero, elements, 0, 8, 1, 9, 2, 10, 3, 11), scales);
}

@inline
function upperProducts(elements: v128, scales: v128): v128 {
	const zero = i16x8.splat(0);
	return f32x4.mul(v128.shuffle<u16>(zero, elements, 4, 12, 5, 13, 6, 14, 7, 15), scales);
}

// How half bytes, bytes and pairs of bytes are taken apart and put together.

@inline
/** The codes of the half bytes of the first 8 bytes, lower halves first. */
function firstCodes(bytes: v128): v128 {
	return lowerPairs(v128.and(bytes, i8x16.splat(15)), i8x16.shr_u(bytes, 4));
}

@inline
/** The codes of the half bytes of the last 8 bytes. */
function lastCodes(bytes: v128): v128 {
	return upperPairs(v128.and(bytes, i8x16.splat(15)), i8x16.shr_u(bytes, 4));
}

@inline
function evenBytes(a: v128, b: v128): v128 {
	return v128.shuffle<u8>(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

@inline
function oddBytes(a: v128, b: v128): v128 {
	return v128.shuffle<u8>(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

@inline
function lowerPairs(a: v128, b: v128): v128 {
	return v128.shuffle<u8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

@inline
function upperPairs(a: v128, b: v128): v128 {
	return v128.shuffle<u8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
