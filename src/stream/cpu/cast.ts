import { itemBytes } from "../../core/dtype.ts";
import { HfStreamDcpError } from "../../core/errors.ts";
import type { GatherPiece } from "../../core/ports.ts";
import { convertPlaneKernel, type ConvertPlane } from "./convert-plane.ts";
import { type CastDtype, converter, isCastDtype } from "./float-bits.ts";
import { leadOf, type UnitBytes, viewAs } from "./elements.ts";
import { arrangeLoops, forEachPlane, type Loops } from "./loops.ts";

/**
 * Moves the elements of a piece whose dtypes differ, each converted.
 *
 * @param stagingOffset - Byte offset in `staging` of the piece's first source element; any alignment.
 * @throws {HfStreamDcpError} `DTYPE_UNSUPPORTED` unless both dtypes are float32, float16 or bfloat16.
 */
export function cast(
	piece: GatherPiece,
	staging: Uint8Array,
	stagingOffset: number,
	target: Uint8Array,
): void {
	const { sourceDtype, targetDtype } = piece;
	if (!isCastDtype(sourceDtype) || !isCastDtype(targetDtype)) {
		throw new HfStreamDcpError(
			"DTYPE_UNSUPPORTED",
			`no cast from ${sourceDtype} to ${targetDtype}`,
		);
	}
	const loops = arrangeLoops(piece.dims);
	const from = leadOf(staging) + stagingOffset;
	const to = leadOf(target) + piece.targetOffset * itemBytes(targetDtype);
	const sourceUnit = unitOf(sourceDtype);
	const targetUnit = unitOf(targetDtype);
	if (from % sourceUnit !== 0 || to % targetUnit !== 0) {
		castUnaligned(loops, viewAs(staging, 1), from, sourceDtype, viewAs(target, 1), to, targetDtype);
		return;
	}
	const source = viewAs(staging, sourceUnit);
	const into = viewAs(target, targetUnit);
	const convert: ConvertPlane = convertPlaneKernel(sourceDtype, targetDtype);
	forEachPlane(loops, from / sourceUnit, to / targetUnit, (s, t, count) => {
		convert(source, s, into, t, loops.rows, loops.columns, count);
	});
}

function unitOf(dtype: CastDtype): UnitBytes {
	return dtype === "float32" ? 4 : 2;
}

/** The slow way for files whose tensors lie off their alignment: element by element, byte by byte. */
function castUnaligned(
	loops: Loops,
	source: ArrayLike<number>,
	from: number,
	sourceDtype: CastDtype,
	target: { [index: number]: number },
	to: number,
	targetDtype: CastDtype,
): void {
	const convert = converter(sourceDtype, targetDtype);
	const sourceBytes = unitOf(sourceDtype);
	const targetBytes = unitOf(targetDtype);
	const { rows, columns } = loops;
	forEachPlane(loops, 0, 0, (s, t, count) => {
		for (let row = 0; row < rows.size; row++) {
			for (let column = 0; column < count; column++) {
				const element = s + row * rows.sourceStride + column * columns.sourceStride;
				const place = t + row * rows.targetStride + column * columns.targetStride;
				const first = from + element * sourceBytes;
				let bits = 0;
				for (let i = sourceBytes - 1; i >= 0; i--) bits = (bits << 8) | (source[first + i] ?? 0);
				let result = convert(bits >>> 0);
				for (let i = 0; i < targetBytes; i++) {
					target[to + place * targetBytes + i] = result & 0xff;
					result >>>= 8;
				}
			}
		}
	});
}
