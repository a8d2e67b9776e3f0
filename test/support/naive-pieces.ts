import { itemBytes } from "../../src/core/dtype.ts";
import type { Piece } from "../../src/core/ports.ts";
import { encodeElement } from "../../src/stream/cpu/fill.ts";
import { isCastDtype } from "../../src/stream/cpu/float-bits.ts";
import { patternOf, valueOf } from "./slow-floats.ts";

/** Does what a piece says, one element and one byte at a time. `read` gives bytes of a source tensor, from its start on. */
export function runNaively(
	piece: Piece,
	read: (source: string, offset: number, bytes: number) => Uint8Array,
	target: Uint8Array,
): void {
	const width = itemBytes(piece.targetDtype);
	const visit = (axis: number, from: number, to: number): void => {
		const dim = piece.dims[axis];
		if (dim !== undefined) {
			for (let i = 0; i < dim.size; i++) {
				visit(axis + 1, from + i * dim.sourceStride, to + i * dim.targetStride);
			}
			return;
		}
		target.set(elementOf(piece, from, read), to * width);
	};
	visit(0, piece.kind === "gather" ? piece.sourceOffset : 0, piece.targetOffset);
}

function elementOf(
	piece: Piece,
	from: number,
	read: (source: string, offset: number, bytes: number) => Uint8Array,
): Uint8Array {
	if (piece.kind === "dequant") throw new Error("not written yet");
	if (piece.kind === "fill") return encodeElement(piece.value, piece.targetDtype);
	const { sourceDtype, targetDtype } = piece;
	const width = itemBytes(sourceDtype);
	const bytes = read(piece.source, from * width, width);
	if (sourceDtype === targetDtype) return bytes;
	if (!isCastDtype(sourceDtype) || !isCastDtype(targetDtype)) throw new Error("no such cast");
	let pattern = 0;
	bytes.forEach((byte, i) => (pattern += byte * 2 ** (8 * i)));
	const result = patternOf(valueOf(pattern, sourceDtype), targetDtype);
	return Uint8Array.from({ length: itemBytes(targetDtype) }, (_, i) =>
		Math.floor(result / 2 ** (8 * i)),
	);
}
