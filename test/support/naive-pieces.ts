import { itemBytes } from "../../src/core/dtype.ts";
import type { DequantPiece, FillPiece, GatherPiece, Piece } from "../../src/core/ports.ts";
import { SCALE_BYTES } from "../../src/core/quantisation.ts";
import { encodeElement } from "../../src/stream/cpu/fill.ts";
import { isCastDtype } from "../../src/stream/cpu/float-bits.ts";
import { patternOf, valueOf } from "./slow-floats.ts";
import { codeAt, elementValue, scaleValue } from "./slow-quantised.ts";

/** Does what a piece says, one element and one byte at a time. `read` gives bytes of a source tensor, from its start on. */
export function runNaively(piece: Piece, read: ReadBytes, target: Uint8Array): void {
	const width = itemBytes(piece.targetDtype);
	const visit = (axis: number, from: number, scale: number, to: number): void => {
		const dim = piece.dims[axis];
		if (dim !== undefined) {
			const step = "scaleStride" in dim ? dim.scaleStride : 0;
			for (let i = 0; i < dim.size; i++) {
				const next = from + i * dim.sourceStride;
				visit(axis + 1, next, scale + i * step, to + i * dim.targetStride);
			}
			return;
		}
		const element =
			piece.kind === "dequant"
				? quantisedElement(piece, { from, scale }, read)
				: elementOf(piece, from, read);
		target.set(element, to * width);
	};
	visit(
		0,
		piece.kind === "fill" ? 0 : piece.sourceOffset,
		piece.kind === "dequant" ? piece.scaleOffset : 0,
		piece.targetOffset,
	);
}

type ReadBytes = (source: string, offset: number, bytes: number) => Uint8Array;

function quantisedElement(
	piece: DequantPiece,
	{ from, scale }: { readonly from: number; readonly scale: number },
	read: ReadBytes,
): Uint8Array {
	const { codec, scaleCodec, targetDtype } = piece;
	const perByte = codec === "float4_e2m1" ? 2 : 1;
	const bytes = read(piece.source, Math.floor(from / perByte), 1);
	const value = elementValue(codeAt(bytes, from % perByte, codec), codec);
	const width = SCALE_BYTES[scaleCodec];
	const factor = scaleValue(read(piece.scales, scale * width, width), scaleCodec);
	return bytesOf(patternOf(Math.fround(value * factor), targetDtype), itemBytes(targetDtype));
}

function bytesOf(pattern: number, width: number): Uint8Array {
	return Uint8Array.from({ length: width }, (_, i) => Math.floor(pattern / 2 ** (8 * i)));
}

function elementOf(piece: GatherPiece | FillPiece, from: number, read: ReadBytes): Uint8Array {
	if (piece.kind === "fill") return encodeElement(piece.value, piece.targetDtype);
	const { sourceDtype, targetDtype } = piece;
	const width = itemBytes(sourceDtype);
	const bytes = read(piece.source, from * width, width);
	if (sourceDtype === targetDtype) return bytes;
	if (!isCastDtype(sourceDtype) || !isCastDtype(targetDtype)) throw new Error("no such cast");
	let pattern = 0;
	bytes.forEach((byte, i) => (pattern += byte * 2 ** (8 * i)));
	return bytesOf(patternOf(valueOf(pattern, sourceDtype), targetDtype), itemBytes(targetDtype));
}
