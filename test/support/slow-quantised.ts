import type { ElementCodec, ScaleCodec } from "../../src/core/quantisation.ts";
import { valueOf } from "./slow-floats.ts";

/** The magnitudes of the codes 0 to 7 of E2M1. */
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** The value of a code by the definition of its format (OCP 8-bit floating point 1.0, OCP microscaling 1.0). */
export function elementValue(code: number, codec: ElementCodec): number {
	if (codec === "float4_e2m1") return (code >= 8 ? -1 : 1) * E2M1[code % 8]!;
	// An E5M2 is the upper half of a float16.
	if (codec === "float8_e5m2") return valueOf(code * 256, "float16");
	const magnitude = code % 128;
	const [exponent, mantissa] = [Math.floor(magnitude / 8), magnitude % 8];
	if (magnitude === 127) return Number.NaN;
	const size = exponent === 0 ? mantissa / 512 : (1 + mantissa / 8) * 2 ** (exponent - 7);
	return code >= 128 ? -size : size;
}

/** The value of a scale. */
export function scaleValue(bytes: Uint8Array, codec: ScaleCodec): number {
	const pattern = bytes.reduce((sum, byte, i) => sum + byte * 256 ** i, 0);
	switch (codec) {
		case "float32":
		case "bfloat16":
		case "float16":
			return valueOf(pattern, codec);
		case "float8_e8m0fnu":
			return pattern === 255 ? Number.NaN : 2 ** (pattern - 127);
		case "power_of_two":
			return 2 ** (pattern - 127);
	}
}

/** Byte and code of element `index` of packed elements: of two in a byte the lower half comes first. */
export function codeAt(bytes: Uint8Array, index: number, codec: ElementCodec): number {
	if (codec !== "float4_e2m1") return bytes[index]!;
	const byte = bytes[Math.floor(index / 2)]!;
	return index % 2 === 0 ? byte % 16 : Math.floor(byte / 16);
}
