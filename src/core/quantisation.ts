/**
 * How a quantised element is encoded. A `float4_e2m1` takes half a byte, the lower half of a byte first: sign, two bits of
 * exponent, one of mantissa.
 */
export type ElementCodec = "float8_e4m3fn" | "float8_e5m2" | "float4_e2m1";

/**
 * How the scale of a block is encoded. `power_of_two` is a byte s that means 2^(s − 127): of 255, too, which is no float32, but whose
 * product with a small element is one. Of `float8_e8m0fnu`, which is the same but for that, 255 means NaN.
 *
 * @see transformers 5.23 `integrations/mxfp4.py`: `torch.ldexp`, which in torch 2.13 makes 2^127 of 0.5 and 2^128.
 */
export type ScaleCodec = "float32" | "bfloat16" | "float16" | "float8_e8m0fnu" | "power_of_two";

/** Bits of one element. */
export const ELEMENT_BITS: { readonly [C in ElementCodec]: number } = {
	float8_e4m3fn: 8,
	float8_e5m2: 8,
	float4_e2m1: 4,
};

/** Bytes of one scale. */
export const SCALE_BYTES: { readonly [C in ScaleCodec]: number } = {
	float32: 4,
	bfloat16: 2,
	float16: 2,
	float8_e8m0fnu: 1,
	power_of_two: 1,
};

/** What quantised values can be stored as. */
export type DequantDtype = "float32" | "bfloat16" | "float16";
