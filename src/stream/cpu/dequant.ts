import { itemBytes } from "../../core/dtype.ts";
import type { DequantOp } from "../../core/ports.ts";
import type { DequantDtype, ElementCodec, ScaleCodec } from "../../core/quantisation.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../../core/quantisation.ts";
import { float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "./float-bits.ts";

/** Makes the target elements of a dequantising op, one by one: the definition, for shapes that no faster kernel takes. */
export function dequant(op: DequantOp, staging: Uint8Array, target: Uint8Array): void {
	const { piece, stagingOffset, scaleStagingOffset } = op;
	const source = new DataView(staging.buffer, staging.byteOffset, staging.byteLength);
	const into = new DataView(target.buffer, target.byteOffset, target.byteLength);
	const elements = elementTable(piece.codec);
	const perByte = 8 / ELEMENT_BITS[piece.codec];
	const parity = piece.sourceOffset % perByte;
	const width = itemBytes(piece.targetDtype);
	const visit = (axis: number, from: number, scale: number, to: number): void => {
		const dim = piece.dims[axis];
		if (dim !== undefined) {
			for (let i = 0; i < dim.size; i++) {
				const next = from + i * dim.sourceStride;
				visit(axis + 1, next, scale + i * dim.scaleStride, to + i * dim.targetStride);
			}
			return;
		}
		const byte = source.getUint8(stagingOffset + Math.floor(from / perByte));
		const code = perByte === 1 ? byte : from % 2 === 0 ? byte & 15 : byte >> 4;
		const at = scaleStagingOffset + scale * SCALE_BYTES[piece.scaleCodec];
		const value = Math.fround((elements[code] ?? 0) * scaleAt(source, at, piece.scaleCodec));
		writeRounded(into, to * width, value, piece.targetDtype);
	};
	visit(0, parity, 0, piece.targetOffset);
}

/** The value of every code. */
export function elementTable(codec: ElementCodec): Float32Array {
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

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

function scaleAt(source: DataView, byte: number, codec: ScaleCodec): number {
	switch (codec) {
		case "float32":
			return source.getFloat32(byte, true);
		case "bfloat16":
			bits[0] = source.getUint16(byte, true) << 16;
			return float[0] ?? 0;
		case "float16":
			bits[0] = float16ToFloat32(source.getUint16(byte, true));
			return float[0] ?? 0;
		case "float8_e8m0fnu": {
			const exponent = source.getUint8(byte);
			return exponent === 255 ? Number.NaN : 2 ** (exponent - 127);
		}
		case "power_of_two":
			return Math.fround(2 ** (source.getUint8(byte) - 127));
	}
}

function writeRounded(into: DataView, byte: number, value: number, dtype: DequantDtype): void {
	// A NaN gets its one pattern, which storing a number does not promise.
	float[0] = value;
	const pattern = Number.isNaN(value) ? 0x7fc00000 : (bits[0] ?? 0);
	if (dtype === "float32") into.setUint32(byte, pattern, true);
	else {
		const narrow = dtype === "bfloat16" ? float32ToBfloat16 : float32ToFloat16;
		into.setUint16(byte, narrow(pattern), true);
	}
}
