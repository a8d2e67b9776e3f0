// The operations of a case of `kernel-cases.mjs`, as `ReshardOp`s: what a plan makes of such tensors.
import { itemBytes } from "./kernel-cases.mjs";

/** Where the scales of a case lie in the staging memory: behind the elements. @param {number} sourceBytes */
export function scalesBegin(sourceBytes) {
	return Math.ceil(sourceBytes / 256) * 256;
}

/** Bytes of the scales of a case. @param {import("./kernel-cases.mjs").KernelCase} request */
export function scaleBytes({ kind, sourceBytes }) {
	if (kind === "fp8") return sourceBytes / (128 * 32);
	return kind === "mxfp4" ? sourceBytes / 16 : 0;
}

function elementsOf({ kind, from, sourceBytes }) {
	return (sourceBytes * (kind === "mxfp4" ? 2 : 1)) / itemBytes(from);
}

/** Bytes that a case makes. @param {import("./kernel-cases.mjs").KernelCase} request */
export function targetBytes(request) {
	return elementsOf(request) * itemBytes(request.to);
}

function run(size, sourceStride, targetStride) {
	return { size, sourceStride, targetStride };
}

function gather({ from, to }, sourceOffset, targetOffset, dims) {
	const piece = { kind: "gather", source: "w", sourceDtype: from, targetDtype: to };
	return {
		piece: { ...piece, sourceOffset, targetOffset, dims },
		stagingOffset: sourceOffset * itemBytes(from),
	};
}

function loop(size, sourceStride, targetStride, scaleStride) {
	return { size, sourceStride, targetStride, scaleStride };
}

/** What `plan/pull-dequant.ts` makes of the whole of a tensor. `dims` are in the order of the source. */
function dequant({ from, to, isTransposed, sourceBytes }, scaleCodec, dims) {
	const codec = from === "uint8" ? "float4_e2m1" : from;
	const sorted = isTransposed ? dims.toSorted((a, b) => b.targetStride - a.targetStride) : dims;
	const offsets = { sourceOffset: 0, scaleOffset: 0, targetOffset: 0 };
	const piece = { kind: "dequant", source: "w", codec, scales: "s", scaleCodec, targetDtype: to };
	return {
		piece: { ...piece, ...offsets, dims: sorted.filter((dim) => dim.size > 1) },
		stagingOffset: 0,
		scaleStagingOffset: scalesBegin(sourceBytes),
	};
}

/** By kind: the operations that a case is, for its number of source elements. */
const MAKE = {
	copy: (of, elements) => [gather(of, 0, 0, [run(elements, 1, 1)])],
	cast: (of, elements) => [gather(of, 0, 0, [run(elements, 1, 1)])],
	columns: (of, elements) => {
		const width = of.runBytes / itemBytes(of.from);
		const rows = elements / (width * of.parts);
		return Array.from({ length: of.parts }, (_, part) =>
			gather(of, part * width, part * rows * width, [
				run(rows, width * of.parts, width),
				run(width, 1, 1),
			]),
		);
	},
	rotary: (of, elements) => {
		const width = of.rowBytes / itemBytes(of.from);
		const [half, head] = [of.headRows / 2, of.headRows * width];
		const dims = [run(elements / head, head, head), run(half, width, 2 * width)];
		return [gather(of, 0, 0, [...dims, run(2, half * width, width), run(width, 1, 1)])];
	},
	transpose: (of, elements) => {
		const rows = elements / of.columns;
		return [gather(of, 0, 0, [run(of.columns, 1, rows), run(rows, of.columns, 1)])];
	},
	fp8: (of) => {
		const { rows, columns, isTransposed } = of;
		const [row, column] = isTransposed ? [1, rows] : [columns, 1];
		const dims = [
			loop(rows / 128, 128 * columns, 128 * row, columns / 128),
			loop(128, columns, row, 0),
			loop(columns / 128, 128, 128 * column, 1),
			loop(128, 1, column, 0),
		];
		return [dequant(of, "float32", dims)];
	},
	mxfp4: (of) => {
		const { rows, columns, sourceBytes, isTransposed } = of;
		const matrix = rows * columns;
		const experts = (2 * sourceBytes) / matrix;
		const dims = isTransposed
			? [
					loop(experts, matrix, matrix, matrix / 32),
					loop(rows, columns, 1, columns / 32),
					loop(columns / 32, 32, 32 * rows, 1),
					loop(32, 1, rows, 0),
				]
			: [loop((2 * sourceBytes) / 32, 32, 32, 1), loop(32, 1, 1, 0)];
		return [dequant(of, "power_of_two", dims)];
	},
};

/** @param {import("./kernel-cases.mjs").KernelCase} request */
export function kernelOps(request) {
	return MAKE[request.kind](request, elementsOf(request));
}

/**
 * Cuts an operation that makes a dense stretch of its target into such stretches of at most `most` elements, in order, each with a target of
 * its own.
 *
 * @param {object} op as {@link kernelOps} makes it
 * @param {number} most elements
 * @yields {object} the next operation
 */
export function* windowsOf(op, most) {
	const [outer, ...inner] = op.piece.dims;
	const within = inner.reduce((product, { size }) => product * size, 1);
	if (outer.size * within <= most) {
		yield { ...op, piece: { ...op.piece, targetOffset: 0 } };
		return;
	}
	const step = Math.max(1, Math.floor(most / within));
	for (let from = 0; from < outer.size; from += step) {
		const size = Math.min(step, outer.size - from);
		const dims = size === 1 ? inner : [{ ...outer, size }, ...inner];
		yield* windowsOf(advance(op, outer, from, dims), most);
	}
}

function advance(op, { sourceStride, scaleStride = 0 }, steps, dims) {
	const { piece, stagingOffset, scaleStagingOffset } = op;
	const [elements, scales] = [steps * sourceStride, steps * scaleStride];
	const offsets = {
		sourceOffset: piece.sourceOffset + elements,
		...(piece.kind === "dequant" ? { scaleOffset: piece.scaleOffset + scales } : {}),
	};
	const bytes = piece.codec === "float4_e2m1" ? 1 / 2 : itemBytes(piece.sourceDtype ?? piece.codec);
	const bytesEach = piece.scaleCodec === "float32" ? 4 : 1;
	return {
		piece: { ...piece, ...offsets, dims },
		stagingOffset: stagingOffset + Math.floor(elements * bytes),
		...(piece.kind === "dequant"
			? { scaleStagingOffset: scaleStagingOffset + scales * bytesEach }
			: {}),
	};
}

/** Elements that an operation makes. */
export function elementsMade({ piece }) {
	return piece.dims.reduce((product, { size }) => product * size, 1);
}
