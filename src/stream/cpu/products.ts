/**
 * The products of a scale and every element there is.
 *
 * The rule, the same on every machine and in every kernel: the product of element and scale is rounded to a float32, as IEEE 754
 * says, and that once more to the dtype of the target, as `float-bits.ts` says. Subnormals are kept on all three
 * sides. For all that is not NaN these are the bits of `(element.to(float32) * scale.to(float32)).to(dtype)` of torch 2.13. A NaN
 * of an element or of a scale, and zero times infinity, give the positive quiet NaN without payload (7fc00000, 7e00, 7fc0).
 */
import type { DequantPiece } from "../../core/ports.ts";
import type { ElementCodec, ScaleCodec } from "../../core/quantisation.ts";
import { bfloat16ToFloat32, converter, float16ToFloat32 } from "./float-bits.ts";

/** Bits of a target element for every code of an element. */
export type ProductTable = Uint32Array;

/** So many tables are kept: as many as there are scales of one byte. */
const KEPT_TABLES = 256;

/** Makes the tables of a piece, each for the scale of these bits. */
export function productTables({
	codec,
	scaleCodec,
	targetDtype,
}: DequantPiece): (scaleBits: number) => ProductTable {
	const elements = elementTable(codec);
	const products = new Float32Array(elements.length);
	const patterns = new Uint32Array(products.buffer);
	const round = converter("float32", targetDtype);
	const kept = new Map<number, ProductTable>();
	return (scaleBits) => {
		const known = kept.get(scaleBits);
		if (known !== undefined) return known;
		const scale = scaleOf(scaleBits, scaleCodec);
		for (const [code, element] of elements.entries()) products[code] = element * scale;
		const table = patterns.map((bits) => round(bits));
		if (kept.size === KEPT_TABLES) kept.clear();
		kept.set(scaleBits, table);
		return table;
	};
}

/** The value of every code. */
function elementTable(codec: ElementCodec): Float32Array {
	switch (codec) {
		case "float4_e2m1":
			return Float32Array.from({ length: 16 }, (_, code) => smallFloat(code, 2, 1, 1));
		case "float8_e4m3fn":
			return Float32Array.from({ length: 256 }, (_, code) =>
				(code & 0x7f) === 0x7f ? Number.NaN : smallFloat(code, 4, 3, 7),
			);
		case "float8_e5m2":
			return Float32Array.from({ length: 256 }, (_, code) => {
				const magnitude = code & 0x7f;
				if (magnitude < 0x7c) return smallFloat(code, 5, 2, 15);
				if (magnitude > 0x7c) return Number.NaN;
				return code > 0x7f ? -Infinity : Infinity;
			});
	}
}

/** A finite float of a sign, exponent and mantissa bits. */
function smallFloat(
	code: number,
	exponentBits: number,
	mantissaBits: number,
	bias: number,
): number {
	const mantissa = code % 2 ** mantissaBits;
	const exponent = Math.floor(code / 2 ** mantissaBits) % 2 ** exponentBits;
	const sign = code >= 2 ** (exponentBits + mantissaBits) ? -1 : 1;
	if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
	return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

const pattern = new Uint32Array(1);
const float = new Float32Array(pattern.buffer);

/** The value of a scale. */
function scaleOf(bits: number, codec: ScaleCodec): number {
	switch (codec) {
		case "float32":
			pattern[0] = bits;
			break;
		case "bfloat16":
			pattern[0] = bfloat16ToFloat32(bits);
			break;
		case "float16":
			pattern[0] = float16ToFloat32(bits);
			break;
		case "float8_e8m0fnu":
			return bits === 255 ? Number.NaN : 2 ** (bits - 127);
		case "power_of_two":
			return 2 ** (bits - 127);
	}
	return float[0] ?? 0;
}
