import type { DequantExpr } from "../core/expr.ts";
import type { DequantPiece } from "../core/ports.ts";
import type { DequantDtype } from "../core/quantisation.ts";
import { at, contiguousStrides } from "../core/shape.ts";
import { type Segment, straightSegments } from "./block-segments.ts";
import { type AxisIndex, divideAxis, type IndexMap } from "./index-map.ts";
import { mergedDims } from "./merge-dims.ts";

/** The pieces that make the elements of `map`, whose axes are those of the value of `expr`. Cut where the scale is not affine. */
export function dequantPieces(
	expr: DequantExpr,
	map: IndexMap,
	targetDtype: DequantDtype,
): readonly DequantPiece[] {
	const segments = straightSegments(expr, map) ?? segmentsOf(expr, map);
	return segments.map(({ sourceOffset, scaleOffset, targetOffset, dims }) => ({
		kind: "dequant",
		source: expr.weight.name,
		codec: expr.codec,
		scales: expr.scales.name,
		scaleCodec: expr.scaleCodec,
		targetDtype,
		sourceOffset,
		scaleOffset,
		targetOffset,
		dims: mergedDims(dims),
	}));
}

/** The segments of any map. */
function segmentsOf(expr: DequantExpr, map: IndexMap): readonly Segment[] {
	return divideIntoBlocks(expr, map).map((divided) => {
		const { elements, scales } = axesOf(expr, divided);
		const source = linear(elements, expr.shape, divided);
		const scale = linear(scales, expr.scales.shape, divided);
		return {
			sourceOffset: source.offset,
			scaleOffset: scale.offset,
			targetOffset: divided.targetOffset,
			dims: divided.loops.map(({ size, targetStride }, l) => ({
				size,
				sourceStride: at(source.strides, l),
				targetStride,
				scaleStride: at(scale.strides, l),
			})),
		};
	});
}

/** Replaces every axis of more than one element to a scale by two: the block, and the element in the block. */
function divideIntoBlocks(expr: DequantExpr, map: IndexMap): readonly IndexMap[] {
	let maps: readonly IndexMap[] = [map];
	// From the last axis to the first, so that the positions of those still to come stay what they are.
	for (let d = expr.block.length - 1; d >= 0; d--) {
		const block = at(expr.block, d);
		if (block > 1) maps = maps.flatMap((one) => divideAxis(one, d, block));
	}
	return maps;
}

/** The index of the element and that of its scale, axis by axis. */
function axesOf(
	{ block }: DequantExpr,
	{ axes }: IndexMap,
): { readonly elements: readonly AxisIndex[]; readonly scales: readonly AxisIndex[] } {
	const elements: AxisIndex[] = [];
	const scales: AxisIndex[] = [];
	let next = 0;
	for (const size of block) {
		const outer = at(axes, next++);
		scales.push(outer);
		if (size === 1) {
			elements.push(outer);
			continue;
		}
		const inner = at(axes, next++);
		elements.push({
			base: outer.base * size + inner.base,
			steps: outer.steps.map((step, l) => step * size + at(inner.steps, l)),
		});
	}
	return { elements, scales };
}

/** Row-major offset and strides of indices into a tensor of `shape`. */
function linear(
	axes: readonly AxisIndex[],
	shape: readonly number[],
	{ loops }: IndexMap,
): { readonly offset: number; readonly strides: readonly number[] } {
	const unit = contiguousStrides(shape);
	let offset = 0;
	const strides = loops.map(() => 0);
	for (const [d, { base, steps }] of axes.entries()) {
		offset += base * at(unit, d);
		for (const [l, step] of steps.entries()) strides[l] = at(strides, l) + step * at(unit, d);
	}
	return { offset, strides };
}
