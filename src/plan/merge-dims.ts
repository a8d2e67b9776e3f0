import type { DequantDim, PieceDim } from "../core/ports.ts";

/**
 * Loops as the dims of a piece: largest target stride first, single iterations dropped, neighbours merged that are contiguous in the
 * target, in the source and, where there are any, in the scales.
 */
export function mergedDims<D extends PieceDim | DequantDim>(loops: readonly D[]): D[] {
	const dims = loops
		.filter(({ size }) => size > 1)
		.toSorted((a, b) => b.targetStride - a.targetStride);
	const merged: D[] = [];
	for (const dim of dims) {
		const outer = merged.at(-1);
		const continues =
			outer !== undefined &&
			outer.targetStride === dim.targetStride * dim.size &&
			outer.sourceStride === dim.sourceStride * dim.size &&
			scaleStrideOf(outer) === scaleStrideOf(dim) * dim.size;
		if (continues) merged[merged.length - 1] = { ...dim, size: outer.size * dim.size };
		else merged.push(dim);
	}
	return merged;
}

function scaleStrideOf(dim: PieceDim | DequantDim): number {
	return "scaleStride" in dim ? dim.scaleStride : 0;
}
