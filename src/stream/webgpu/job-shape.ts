import { itemBytes } from "../../core/dtype.ts";
import type { DequantOp, GatherPiece, ReshardOp } from "../../core/ports.ts";
import { SCALE_BYTES } from "../../core/quantisation.ts";
import { isCastDtype } from "../cpu/float-bits.ts";
import { CODEC_CODES, FORMAT_CODES, type KernelName, SCALE_CODES } from "./job-table.ts";

/** One loop of a job, and what a step of it adds to the three places. */
export interface JobDim {
	readonly size: number;
	/** Bytes; halves of bytes where elements have four bits. */
	readonly source: number;
	/** Units of the target. */
	readonly target: number;
	/** Bytes. */
	readonly scale: number;
}

/** An op as a kernel sees it: places and loops in the kernel's own measures. */
export interface JobShape {
	readonly kernel: KernelName;
	/** Place of the first element, as in {@link JobDim.source}. */
	readonly source: number;
	/** First unit of the target. */
	readonly target: number;
	/** Byte of the first scale. */
	readonly scale: number;
	/** The outermost first. No size of 1, but for a loop that stands where there would be none. */
	readonly dims: readonly JobDim[];
	/** Codes of the formats; 0 where a kernel has none. */
	readonly from: number;
	readonly scaleFormat: number;
	readonly to: number;
}

/** The loop of a single unit. */
const ONCE: JobDim = { size: 1, source: 0, target: 1, scale: 0 };

/** What a kernel would do for an op; `undefined` when none can: constants, and casts that do not exist. */
export function jobShapeOf(op: ReshardOp): JobShape | undefined {
	const shape = shapeOf(op);
	return shape?.dims.length === 0 ? { ...shape, dims: [ONCE] } : shape;
}

function shapeOf(op: ReshardOp): JobShape | undefined {
	const { piece, stagingOffset } = op;
	if (piece.kind === "fill") return undefined;
	if (piece.kind === "dequant") return dequantShape(op as DequantOp);
	if (piece.sourceDtype === piece.targetDtype) return moveShape(piece, stagingOffset);
	return castShape(piece, stagingOffset);
}

/**
 * Elements of any size, and runs of them, are moved in the largest units that all of the target's places are multiples of. Where the
 * source's bytes lie does not matter.
 */
function moveShape(piece: GatherPiece, stagingOffset: number): JobShape {
	const width = itemBytes(piece.sourceDtype);
	const inner = piece.dims.at(-1);
	const isRun = inner?.sourceStride === 1 && inner.targetStride === 1;
	const runBytes = isRun ? inner.size * width : width;
	const loops = isRun ? piece.dims.slice(0, -1) : piece.dims;
	const start = piece.targetOffset * width;
	const places = [start, runBytes, ...loops.map((dim) => dim.targetStride * width)];
	const unit = ([4, 2] as const).find((size) => places.every((place) => place % size === 0)) ?? 1;
	const dims: JobDim[] = loops.map((dim) => ({
		size: dim.size,
		source: dim.sourceStride * width,
		target: (dim.targetStride * width) / unit,
		scale: 0,
	}));
	dims.push({ size: runBytes / unit, source: unit, target: 1, scale: 0 });
	return {
		kernel: ({ 1: "move8", 2: "move16", 4: "move32" } as const)[unit],
		source: stagingOffset,
		target: start / unit,
		scale: 0,
		dims: dims.filter((dim) => dim.size !== 1),
		from: 0,
		scaleFormat: 0,
		to: 0,
	};
}

function castShape(piece: GatherPiece, stagingOffset: number): JobShape | undefined {
	const { sourceDtype, targetDtype } = piece;
	if (!isCastDtype(sourceDtype) || !isCastDtype(targetDtype)) return undefined;
	const width = itemBytes(sourceDtype);
	return {
		kernel: targetDtype === "float32" ? "cast32" : "cast16",
		source: stagingOffset,
		target: piece.targetOffset,
		scale: 0,
		dims: piece.dims.map((dim) => ({
			size: dim.size,
			source: dim.sourceStride * width,
			target: dim.targetStride,
			scale: 0,
		})),
		from: FORMAT_CODES[sourceDtype],
		scaleFormat: 0,
		to: FORMAT_CODES[targetDtype],
	};
}

function dequantShape({ piece, stagingOffset, scaleStagingOffset }: DequantOp): JobShape {
	const { codec, scaleCodec, targetDtype } = piece;
	const isHalf = codec === "float4_e2m1";
	const scaleBytes = SCALE_BYTES[scaleCodec];
	return {
		kernel: targetDtype === "float32" ? "dequant32" : "dequant16",
		source: isHalf ? 2 * stagingOffset + (piece.sourceOffset % 2) : stagingOffset,
		target: piece.targetOffset,
		scale: scaleStagingOffset,
		dims: piece.dims.map((dim) => ({
			size: dim.size,
			source: dim.sourceStride,
			target: dim.targetStride,
			scale: dim.scaleStride * scaleBytes,
		})),
		from: CODEC_CODES[codec],
		scaleFormat: SCALE_CODES[scaleCodec],
		to: FORMAT_CODES[targetDtype],
	};
}
