/**
 * Quantised elements. Every one of them is a bfloat16, subnormals and infinities included, and is decoded to its bits: nothing is
 * multiplied on the way, so that no processor meets a subnormal float32. A type stands for a codec: `u8` float8_e4m3fn, `i8`
 * float8_e5m2, `bool` float4_e2m1.
 */

@inline
/** 8 neighbours of one byte as bfloat16 bits. A NaN stays some NaN. */
export function decodeBytes<C>(source: usize): v128 {
	const bits = v128.load_ext<u8>(source);
	const magnitude = v128.and(bits, i16x8.splat(0x7f));
	const sign = i16x8.shl(v128.xor(bits, magnitude), 8);
	// Twice the magnitude and the byte behind it: a place in a table of 8 lanes. From 8 on the place is outside, and what is there is 0.
	const place = i16x8.add(i16x8.mul(magnitude, i16x8.splat(0x0202)), i16x8.splat(0x0100));
	const decoded = isSigned<C>() ? decodeE5m2(magnitude, place) : decodeE4m3(magnitude, place);
	return v128.or(sign, decoded);
}

@inline
/** The exponent is put into place and rebiased; the table holds the bits in which subnormals differ from that. */
function decodeE4m3(magnitude: v128, place: v128): v128 {
	const normal = i16x8.add(i16x8.shl(magnitude, 4), i16x8.splat(120 << 7));
	const subnormal = i16x8(0x3c00, 0x0710, 0x07a0, 0x07f0, 0x0040, 0x0070, 0x0020, 0x0010);
	const isNaN = i16x8.eq(magnitude, i16x8.splat(0x7f));
	return v128.or(v128.xor(normal, i8x16.swizzle(subnormal, place)), isNaN);
}

@inline
/** As {@link decodeE4m3}. Infinity and NaN have the largest exponent in both formats: they are rebiased once more. */
function decodeE5m2(magnitude: v128, place: v128): v128 {
	const rebias = i16x8.splat(112 << 7);
	const normal = i16x8.add(i16x8.shl(magnitude, 5), rebias);
	const subnormal = i16x8(0x3800, 0x0fa0, 0x0040, 0x0020, 0, 0, 0, 0);
	const isSpecial = i16x8.gt_s(magnitude, i16x8.splat(0x7b));
	const finite = v128.xor(normal, i8x16.swizzle(subnormal, place));
	return i16x8.add(finite, v128.and(isSpecial, rebias));
}

@inline
/**
 * Twice the values of the float4_e2m1 codes from 0 to 7 as bfloat16 bits; those from 8 to 15 have the sign in addition. Doubled as their
 * scales are halved.
 */
export function e2m1Doubles(): v128 {
	return i16x8(0x0000, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40c0, 0x4100, 0x4140);
}
