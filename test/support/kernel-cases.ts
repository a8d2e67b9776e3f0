import { itemBytes } from "../../src/core/dtype.ts";
import type { DequantDim, DequantOp, PieceDim, ReshardOp } from "../../src/core/ports.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../../src/core/quantisation.ts";
import { runNaively } from "./naive-pieces.ts";
import type { Random } from "./random.ts";

/** Loops over a block, and how many elements each side of it spans. */
export interface RandomLoops {
	readonly dims: readonly PieceDim[];
	readonly sourceElements: number;
	readonly targetElements: number;
}

/** A block of a source tensor of `rank` axes, permuted at random, with gaps on both sides. */
export function randomLoops(random: Random, rank: number, maxElements: number): RandomLoops {
	const sizes = Array.from({ length: rank }, () => random.pick([1, 2, 2, 3, 4, 5, 7, 8, 16, 33]));
	while (sizes.reduce((product, size) => product * size, 1) > maxElements) {
		const widest = sizes.indexOf(Math.max(...sizes));
		sizes[widest] = Math.ceil(sizes[widest]! / 2);
	}
	const dims = sizes.map((size) => ({ size, sourceStride: 0, targetStride: 0 }));
	let targetElements = 1;
	for (const dim of dims.toReversed()) {
		dim.targetStride = targetElements + (targetElements > 1 ? random.pick([0, 0, 0, 1, 2]) : 0);
		targetElements = dim.targetStride * dim.size;
	}
	let sourceElements = 1;
	const isInOrder = random.below(3) === 0;
	const order = dims.map((dim) => ({ dim, rank: random.fraction() }));
	if (!isInOrder) order.sort((a, b) => a.rank - b.rank);
	for (const { dim } of order.toReversed()) {
		dim.sourceStride = sourceElements + (sourceElements > 1 ? random.pick([0, 0, 1, 3]) : 0);
		sourceElements = dim.sourceStride * dim.size;
	}
	return { dims: dims.filter((dim) => dim.size > 1), sourceElements, targetElements };
}

/**
 * Loops over a block of rows and columns of quantised elements, as planned pieces have them: blocks and the elements in them are loops
 * of their own, in an order of the target's.
 */
export function randomScaledLoops(
	random: Random,
): RandomLoops & { readonly dims: readonly DequantDim[]; readonly scales: number } {
	const loops: DequantDim[] = [];
	let [sourceElements, scales] = [1, 1];
	for (let axis = random.below(3); axis >= 0; axis--) {
		const size = random.pick(sourceElements > 500 ? [1, 2] : [1, 2, 5, 8, 32, 33]);
		const blocks = random.pick(sourceElements > 500 ? [1, 2] : [1, 2, 3]);
		loops.unshift({ size, sourceStride: sourceElements, targetStride: 0, scaleStride: 0 });
		const sourceStride = sourceElements * size;
		loops.unshift({ size: blocks, sourceStride, targetStride: 0, scaleStride: scales });
		sourceElements = sourceStride * blocks + random.pick([0, 0, 2, 3]);
		scales *= blocks;
	}
	const ordered = loops.filter((dim) => dim.size > 1);
	if (random.below(2) === 0) {
		const ranks = new Map(ordered.map((dim) => [dim, random.fraction()]));
		ordered.sort((a, b) => ranks.get(a)! - ranks.get(b)!);
	}
	let targetElements = 1;
	const dims = ordered.toReversed().map((dim) => {
		const gap = targetElements > 1 ? random.pick([0, 0, 0, 1]) : 0;
		const targetStride = targetElements + gap;
		targetElements = targetStride * dim.size;
		return { ...dim, targetStride };
	});
	return { dims: dims.toReversed(), sourceElements, targetElements, scales };
}

/** What ops say, one element at a time, and which bytes of the target they make. */
export function naiveTarget(
	ops: readonly ReshardOp[],
	staging: Uint8Array,
	targetBytes: number,
): { readonly bytes: Uint8Array; readonly isMade: (byte: number) => boolean } {
	const bytes = new Uint8Array(targetBytes);
	const made = new Uint8Array(targetBytes);
	for (const op of ops) {
		const { piece } = op;
		const read = (name: string, offset: number, length: number): Uint8Array => {
			const start = startOf(op, name) + offset;
			return staging.subarray(start, start + length);
		};
		runNaively(piece, read, bytes);
		const width = itemBytes(piece.targetDtype);
		markMade(piece.dims, piece.targetOffset * width, width, made);
	}
	return { bytes, isMade: (byte) => made[byte] === 1 };
}

function markMade(dims: readonly PieceDim[], start: number, width: number, made: Uint8Array): void {
	const [dim, ...inner] = dims;
	if (dim === undefined) made.fill(1, start, start + width);
	for (let i = 0; i < (dim?.size ?? 0); i++) {
		markMade(inner, start + i * (dim?.targetStride ?? 0) * width, width, made);
	}
}

/** Where in staging memory the tensor of an op would begin. */
function startOf(op: ReshardOp, name: string): number {
	const { piece, stagingOffset } = op;
	if (piece.kind === "fill") return 0;
	if (piece.kind === "gather")
		return stagingOffset - piece.sourceOffset * itemBytes(piece.sourceDtype);
	if (name === piece.scales) {
		const { scaleStagingOffset } = op as DequantOp;
		return scaleStagingOffset - piece.scaleOffset * SCALE_BYTES[piece.scaleCodec];
	}
	return stagingOffset - Math.floor((piece.sourceOffset * ELEMENT_BITS[piece.codec]) / 8);
}
