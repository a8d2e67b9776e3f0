import { type Dtype, itemBytes } from "../../core/dtype.ts";
import { assertNever, HfStreamDcpError } from "../../core/errors.ts";
import type { FillPiece } from "../../core/ports.ts";
import { float32ToBfloat16, float32ToFloat16 } from "./float-bits.ts";
import { commonUnit, leadOf, viewAs } from "./elements.ts";
import { arrangeLoops, forEachPlane } from "./loops.ts";

/**
 * Writes a constant over the elements of a piece.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the dtype cannot hold the value.
 */
export function fill(piece: FillPiece, target: Uint8Array): void {
	const element = encodeElement(piece.value, piece.targetDtype);
	const width = element.length;
	const start = leadOf(target) + piece.targetOffset * width;
	const unit = commonUnit(width, start);
	const units = width / unit;
	const view = viewAs(target, unit);
	const loops = arrangeLoops(piece.dims);
	const { rows, columns } = loops;
	const pattern = viewAs(element, unit);
	for (let lane = 0; lane < units; lane++) {
		const value = pattern[lane] ?? 0;
		forEachPlane(loops, 0, 0, (_, place, count) => {
			for (let row = 0; row < rows.size; row++) {
				let t = start / unit + (place + row * rows.targetStride) * units + lane;
				if (units === 1 && columns.targetStride === 1) {
					view.fill(value, t, t + count);
					continue;
				}
				for (let column = 0; column < count; column++) {
					view[t] = value;
					t += columns.targetStride * units;
				}
			}
		});
	}
}

/**
 * The bytes of one element. A float16 or bfloat16 is rounded from float32, as `torch.full` does (torch 2.13).
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the dtype cannot hold the value.
 */
export function encodeElement(value: number, dtype: Dtype): Uint8Array {
	const width = itemBytes(dtype);
	const bytes = new Uint8Array(width);
	switch (dtype) {
		case "float64":
			new DataView(bytes.buffer).setFloat64(0, value, true);
			break;
		case "float32":
		case "complex64":
			new DataView(bytes.buffer).setUint32(0, float32Bits(value), true);
			break;
		case "float16":
			new DataView(bytes.buffer).setUint16(0, float32ToFloat16(float32Bits(value)), true);
			break;
		case "bfloat16":
			new DataView(bytes.buffer).setUint16(0, float32ToBfloat16(float32Bits(value)), true);
			break;
		case "int8":
		case "int16":
		case "int32":
		case "int64":
			return encodeInteger(value, dtype, -(2 ** (8 * width - 1)), 2 ** (8 * width - 1));
		case "bool":
			return encodeInteger(value, dtype, 0, 2);
		case "uint8":
		case "uint16":
		case "uint32":
		case "uint64":
			return encodeInteger(value, dtype, 0, 2 ** (8 * width));
		case "float8_e4m3fn":
		case "float8_e5m2":
		case "float8_e4m3fnuz":
		case "float8_e5m2fnuz":
		case "float8_e8m0fnu":
			// All but e8m0, which has no zero, spell zero as no bits. Nothing else is ever filled in.
			if (!Object.is(value, 0) || dtype === "float8_e8m0fnu") throw unfit(value, dtype);
			break;
		default:
			assertNever(dtype);
	}
	return bytes;
}

/** The bits of the nearest float32. */
function float32Bits(value: number): number {
	return new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
}

/** `value` in `[min, end)`, little-endian two's complement. */
function encodeInteger(value: number, dtype: Dtype, min: number, end: number): Uint8Array {
	if (!Number.isInteger(value) || value < min || value >= end) throw unfit(value, dtype);
	const word = new Uint8Array(8);
	new DataView(word.buffer).setBigInt64(0, BigInt.asIntN(64, BigInt(value)), true);
	return word.slice(0, itemBytes(dtype));
}

function unfit(value: number, dtype: Dtype): HfStreamDcpError {
	return new HfStreamDcpError("RECIPE_INVALID", `${dtype} cannot hold the constant ${value}`, {
		facts: { value, dtype },
	});
}
