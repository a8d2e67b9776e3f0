/**
 * Conversions between float32, float16 and bfloat16, from bits to bits.
 *
 * The rule, the same on every machine: round to nearest, ties to even, subnormals included; overflow becomes infinity; the sign
 * of zero is kept; every NaN becomes the positive quiet NaN without payload (7fc00000, 7e00, 7fc0). For all that is not NaN
 * these are the bits of `tensor.to(dtype)`. For NaN torch 2.13 has no rule of its own: on x86-64, float32 to bfloat16 gives ffff,
 * float16 to float32 gives 7fffffff in a tensor of 6 elements and keeps sign and payload in one of 40.
 */
import type { Dtype } from "../../core/dtype.ts";

/** The dtypes that a cast may have on either side. */
export type CastDtype = "float32" | "float16" | "bfloat16";

/** Whether a cast may have `dtype` on either side. */
export function isCastDtype(dtype: Dtype): dtype is CastDtype {
	return dtype === "float32" || dtype === "float16" || dtype === "bfloat16";
}

/** Bits of the canonical NaN of float32. */
const NAN_F32 = 0x7fc00000;
const NAN_F16 = 0x7e00;
const NAN_BF16 = 0x7fc0;

/** float32 bits of a bfloat16; exact. */
export function bfloat16ToFloat32(bits: number): number {
	return (bits & 0x7fff) > 0x7f80 ? NAN_F32 : (bits << 16) >>> 0;
}

/** float32 bits of a float16; exact. */
export function float16ToFloat32(bits: number): number {
	const sign = (bits & 0x8000) << 16;
	const exponent = (bits >>> 10) & 0x1f;
	const mantissa = bits & 0x3ff;
	if (exponent === 0x1f) return mantissa === 0 ? (sign | 0x7f800000) >>> 0 : NAN_F32;
	if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0;
	if (mantissa === 0) return sign >>> 0;
	// A subnormal: its leading one becomes the implicit one of a normal float32.
	const shift = Math.clz32(mantissa) - 21;
	return (sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13)) >>> 0;
}

/** bfloat16 bits of a float32. */
export function float32ToBfloat16(bits: number): number {
	if ((bits & 0x7fffffff) > 0x7f800000) return NAN_BF16;
	return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** float16 bits of a float32. */
export function float32ToFloat16(bits: number): number {
	const sign = (bits >>> 16) & 0x8000;
	const magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000) return NAN_F16;
	// 65520 lies half-way between the largest float16 and the next power of two: it and all above overflow.
	if (magnitude >= 0x477ff000) return sign | 0x7c00;
	if (magnitude >= 0x38800000) {
		const rebiased = magnitude - 0x38000000;
		return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
	}
	// Below 2^-14 the result counts units of 2^-24; up to half a unit rounds to zero.
	if (magnitude <= 0x33000000) return sign;
	const shift = 126 - (magnitude >>> 23);
	const mantissa = (magnitude & 0x7fffff) | 0x800000;
	const half = 1 << (shift - 1);
	const quotient = mantissa >>> shift;
	const rest = mantissa & (2 * half - 1);
	return sign | (rest > half || (rest === half && quotient % 2 === 1) ? quotient + 1 : quotient);
}

const TO_FLOAT32: { readonly [D in CastDtype]: (bits: number) => number } = {
	float32: (bits) => ((bits & 0x7fffffff) > 0x7f800000 ? NAN_F32 : bits),
	float16: float16ToFloat32,
	bfloat16: bfloat16ToFloat32,
};

const FROM_FLOAT32: { readonly [D in CastDtype]: (bits: number) => number } = {
	float32: (bits) => bits,
	float16: float32ToFloat16,
	bfloat16: float32ToBfloat16,
};

/** Converts the bits of one element. Through float32, which holds every float16 and bfloat16, so that a value is rounded once. */
export function converter(from: CastDtype, to: CastDtype): (bits: number) => number {
	const decode = TO_FLOAT32[from];
	const encode = FROM_FLOAT32[to];
	return (bits) => encode(decode(bits));
}
