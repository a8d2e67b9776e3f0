import { itemBytes } from "../../core/dtype.ts";
import { invariant } from "../../core/errors.ts";
import type { DequantDim, DequantOp, DequantPiece } from "../../core/ports.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../../core/quantisation.ts";
import { DEQUANT_FORMATS, type KernelMemory, SCALE_CODECS } from "./kernels.ts";

/** A loop that is not there. */
const ONCE: DequantDim = { size: 1, sourceStride: 1, targetStride: 1, scaleStride: 0 };

/**
 * Makes the target elements of a dequantising op with the WebAssembly kernels.
 *
 * @param staging - Part of `memory`; elements and scales at any alignment.
 * @param target - Part of `memory`; its first byte is the element that the piece calls 0.
 * @returns `false`, and nothing is done, when no kernel takes a piece of this shape.
 */
export function runDequant(
	memory: KernelMemory,
	op: DequantOp,
	staging: Uint8Array,
	target: Uint8Array,
): boolean {
	const { piece } = op;
	if (piece.dims.some((dim) => dim.size === 0)) return true;
	assertInside(op, staging.length, target.length);
	const start = {
		target: target.byteOffset + piece.targetOffset * itemBytes(piece.targetDtype),
		source: staging.byteOffset + op.stagingOffset,
		scales: staging.byteOffset + op.scaleStagingOffset,
	};
	const inner = piece.dims.at(-1) ?? ONCE;
	if (inner.targetStride !== 1 || !isKnown(piece)) return false;
	const run = piece.dims.find((dim) => dim.sourceStride === 1 && dim.scaleStride === 0) ?? inner;
	if (!areWholeBytes(piece, run)) return false;
	if (run !== inner) runTransposes(memory, piece, run, start);
	else if (inner.sourceStride !== 1 || inner.scaleStride !== 0) return false;
	else runRuns(memory, piece, start);
	return true;
}

/** Half bytes come with powers of two, as in MXFP4, and bytes with other scales. */
function isKnown({ codec, scaleCodec }: DequantPiece): boolean {
	return (codec === "float4_e2m1") === (scaleCodec === "power_of_two");
}

/** A typed array ignores what lies outside of it; the kernels would read and write the bytes of others. */
function assertInside(op: DequantOp, stagingBytes: number, targetBytes: number): void {
	const { piece, stagingOffset, scaleStagingOffset } = op;
	const bits = ELEMENT_BITS[piece.codec];
	let source = 1 + (piece.sourceOffset % (8 / bits));
	let scales = 1;
	let target = piece.targetOffset + 1;
	for (const { size, sourceStride, targetStride, scaleStride } of piece.dims) {
		source += (size - 1) * sourceStride;
		scales += (size - 1) * scaleStride;
		target += (size - 1) * targetStride;
	}
	const isInside =
		stagingOffset + Math.ceil((source * bits) / 8) <= stagingBytes &&
		scaleStagingOffset + scales * SCALE_BYTES[piece.scaleCodec] <= stagingBytes &&
		target * itemBytes(piece.targetDtype) <= targetBytes;
	invariant(isInside, "a piece reaches outside of its memory");
}

/** Whether every run along `run` begins with a byte: the kernels cannot begin in the middle of one. */
function areWholeBytes({ codec, sourceOffset, dims }: DequantPiece, run: DequantDim): boolean {
	const perByte = 8 / ELEMENT_BITS[codec];
	const others = dims.filter((dim) => dim !== run).map((dim) => dim.sourceStride);
	return [sourceOffset, ...others].every((elements) => elements % perByte === 0);
}

/** Addresses that a kernel begins at; or by how much a loop moves them. */
interface Places {
	readonly target: number;
	readonly source: number;
	readonly scales: number;
}

/** Strides of a loop in bytes. */
function steps({ codec, scaleCodec, targetDtype }: DequantPiece, dim: DequantDim): Places {
	return {
		target: dim.targetStride * itemBytes(targetDtype),
		source: (dim.sourceStride * ELEMENT_BITS[codec]) / 8,
		scales: dim.scaleStride * SCALE_BYTES[scaleCodec],
	};
}

/** The last loop runs along both sides, under one scale. */
function runRuns({ kernels, scratch }: KernelMemory, piece: DequantPiece, start: Places): void {
	const format = DEQUANT_FORMATS[piece.codec][piece.targetDtype];
	const scaleCodec = SCALE_CODECS[piece.scaleCodec];
	const { size: count } = piece.dims.at(-1) ?? ONCE;
	const rows = piece.dims.at(-2) ?? ONCE;
	const planes = piece.dims.at(-3) ?? ONCE;
	const plane = steps(piece, planes);
	const row = steps(piece, rows);
	forEachPlace(piece, piece.dims.slice(0, -3), start, ({ target, source, scales }) => {
		kernels.dequantPlanes(
			format,
			scaleCodec,
			target,
			source,
			scales,
			count,
			planes.size,
			plane.target,
			plane.source,
			plane.scales,
			rows.size,
			row.target,
			row.source,
			row.scales,
			scratch,
		);
	});
}

/** `run` runs along the source, under one scale, and the last loop along the target. */
function runTransposes(
	{ kernels, scratch }: KernelMemory,
	piece: DequantPiece,
	run: DequantDim,
	start: Places,
): void {
	const format = DEQUANT_FORMATS[piece.codec][piece.targetDtype];
	const scaleCodec = SCALE_CODECS[piece.scaleCodec];
	const columns = piece.dims.at(-1) ?? ONCE;
	// The loop over the blocks that follow one another in the source, where they do so in the target.
	const blocks = piece.dims.find(
		(dim) => dim.sourceStride === run.size && dim.targetStride === run.size * run.targetStride,
	);
	const outer = piece.dims.filter((dim) => dim !== run && dim !== blocks && dim !== columns);
	const block = steps(piece, blocks ?? ONCE);
	const column = steps(piece, columns);
	forEachPlace(piece, outer, start, ({ target, source, scales }) => {
		kernels.dequantTransposed(
			format,
			scaleCodec,
			target,
			source,
			scales,
			run.size * (blocks?.size ?? 1),
			steps(piece, run).target,
			run.size,
			block.scales,
			columns.size,
			column.source,
			column.scales,
			scratch,
		);
	});
}

/** Calls `kernel` with the addresses that every index of `dims` leads to. */
function forEachPlace(
	piece: DequantPiece,
	dims: readonly DequantDim[],
	start: Places,
	kernel: (start: Places) => void,
): void {
	const [dim, ...inner] = dims;
	if (dim === undefined) {
		kernel(start);
		return;
	}
	const { target, source, scales } = steps(piece, dim);
	for (let i = 0; i < dim.size; i++) {
		const place = {
			target: start.target + i * target,
			source: start.source + i * source,
			scales: start.scales + i * scales,
		};
		forEachPlace(piece, inner, place, kernel);
	}
}
