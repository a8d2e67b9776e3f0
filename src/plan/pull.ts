import type { Box } from "../core/box.ts";
import { assertNever, HfStreamDcpError } from "../core/errors.ts";
import type { Dtype } from "../core/dtype.ts";
import type { Expr } from "../core/expr.ts";
import type { Piece, PieceDim } from "../core/ports.ts";
import type { DequantDtype } from "../core/quantisation.ts";
import { at, contiguousStrides, numel, type Shape } from "../core/shape.ts";
import {
	type AxisIndex,
	cutAtBoundaries,
	divideAxis,
	type IndexMap,
	withAxes,
} from "./index-map.ts";
import { mergedDims } from "./merge-dims.ts";
import { dequantPieces } from "./pull-dequant.ts";

/**
 * The pieces that make one box of an expression's value.
 *
 * The box is dense and row-major; `targetOffset` and `targetStride` of the pieces count its elements. Together the pieces
 * write each of its elements exactly once.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when a cast stands under another cast.
 */
export function pull(expr: Expr, box: Box): readonly Piece[] {
	const pieces: Piece[] = [];
	if (numel(box.size) === 0) return pieces;
	const strides = contiguousStrides(box.size);
	const start: IndexMap = {
		loops: box.size.map((size, l) => ({ size, targetStride: at(strides, l) })),
		axes: box.offset.map((base, d) => ({ base, steps: box.size.map((_, l) => (l === d ? 1 : 0)) })),
		targetOffset: 0,
	};
	visit(expr, start, expr.dtype, pieces);
	return pieces;
}

function visit(expr: Expr, map: IndexMap, dtype: Dtype, out: Piece[]): void {
	switch (expr.kind) {
		case "source":
			out.push(gather(expr.name, expr.dtype, expr.shape, map, dtype));
			return;
		case "fill":
			out.push({
				kind: "fill",
				value: expr.value,
				targetDtype: dtype,
				targetOffset: map.targetOffset,
				dims: dimsOf(
					map,
					map.loops.map(() => 0),
				),
			});
			return;
		case "cast":
			if (expr.dtype !== dtype) {
				throw new HfStreamDcpError(
					"RECIPE_INVALID",
					`cast to ${expr.dtype} under a cast to ${dtype}`,
				);
			}
			visit(expr.of, map, dtype, out);
			return;
		case "slice":
			visit(expr.of, withAxes(map, shifted(map.axes, expr.axis, expr.start)), dtype, out);
			return;
		case "permute": {
			const axes: AxisIndex[] = [];
			expr.axes.forEach((axis, d) => (axes[axis] = at(map.axes, d)));
			visit(expr.of, withAxes(map, axes), dtype, out);
			return;
		}
		case "reshape":
			for (const part of reshapeMap(map, expr.shape, expr.of.shape))
				visit(expr.of, part, dtype, out);
			return;
		case "concat":
		case "stack":
			visitParts(expr, map, dtype, out);
			return;
		case "dequant":
			for (const piece of dequantPieces(expr, map, dequantDtype(dtype))) out.push(piece);
			return;
		default:
			assertNever(expr);
	}
}

function dequantDtype(dtype: Dtype): DequantDtype {
	if (dtype === "float32" || dtype === "bfloat16" || dtype === "float16") return dtype;
	throw new HfStreamDcpError("RECIPE_INVALID", `quantised weights cannot be stored as ${dtype}`);
}

function shifted(axes: readonly AxisIndex[], position: number, by: number): AxisIndex[] {
	return axes.map((axis, d) => (d === position ? { ...axis, base: axis.base + by } : axis));
}

function visitParts(expr: PartsExpr, map: IndexMap, dtype: Dtype, out: Piece[]): void {
	const ends = endsOf(expr);
	for (const cut of cutAtBoundaries(map, expr.axis, ends)) {
		const part = at(expr.parts, cut.part);
		const axes =
			expr.kind === "stack"
				? cut.map.axes.toSpliced(expr.axis, 1)
				: shifted(cut.map.axes, expr.axis, at(part.shape, expr.axis) - at(ends, cut.part));
		visit(part, withAxes(cut.map, axes), dtype, out);
	}
}

type PartsExpr = Extract<Expr, { kind: "concat" | "stack" }>;

/** One past the last index of each part. A stack of hundreds of experts is asked by hundreds of ranks. */
function endsOf(expr: PartsExpr): readonly number[] {
	let ends = knownEnds.get(expr);
	if (ends === undefined) {
		let end = 0;
		ends = expr.parts.map((part) => {
			end += expr.kind === "stack" ? 1 : at(part.shape, expr.axis);
			return end;
		});
		knownEnds.set(expr, ends);
	}
	return ends;
}

const knownEnds = new WeakMap<PartsExpr, readonly number[]>();

/** Axes of two shapes with the same elements, in the smallest groups of equal product. Half-open spans. */
function axisGroups(
	from: Shape,
	to: Shape,
): readonly { readonly from: [number, number]; readonly to: [number, number] }[] {
	const groups: { from: [number, number]; to: [number, number] }[] = [];
	let f = 0;
	let t = 0;
	while (f < from.length || t < to.length) {
		const f0 = f;
		const t0 = t;
		let fromProduct = f < from.length ? at(from, f++) : 1;
		let toProduct = t < to.length ? at(to, t++) : 1;
		while (fromProduct !== toProduct) {
			if (fromProduct < toProduct) fromProduct *= at(from, f++);
			else toProduct *= at(to, t++);
		}
		groups.push({ from: [f0, f], to: [t0, t] });
	}
	return groups;
}

/** Rewrites a map over `outer` (the shape of a reshape's value) as maps over `inner` (the shape of its operand). */
function reshapeMap(map: IndexMap, outer: Shape, inner: Shape): readonly IndexMap[] {
	const groups = axisGroups(outer, inner);
	const flat = groups.map(({ from: [first, end] }): AxisIndex => {
		if (end - first === 1) return at(map.axes, first);
		const strides = contiguousStrides(outer.slice(first, end));
		let base = 0;
		const steps = map.loops.map(() => 0);
		strides.forEach((stride, k) => {
			const axis = at(map.axes, first + k);
			base += axis.base * stride;
			axis.steps.forEach((step, l) => (steps[l] = at(steps, l) + step * stride));
		});
		return { base, steps };
	});
	let maps: readonly IndexMap[] = [withAxes(map, flat)];
	// From the last group to the first, so that the positions of those still to come stay what they are.
	for (let g = groups.length - 1; g >= 0; g--) {
		const [first, end] = at(groups, g).to;
		if (end === first) {
			// Only sizes of 1 on the value's side: the index is 0 and names no axis of the operand.
			maps = maps.map((one) => withAxes(one, one.axes.toSpliced(g, 1)));
			continue;
		}
		const strides = contiguousStrides(inner.slice(first, end));
		for (let k = 0; k < strides.length - 1; k++) {
			maps = maps.flatMap((one) => divideAxis(one, g + k, at(strides, k)));
		}
	}
	return maps;
}

function gather(
	name: string,
	sourceDtype: Dtype,
	shape: Shape,
	map: IndexMap,
	targetDtype: Dtype,
): Piece {
	let sourceOffset = 0;
	const sourceStrides = map.loops.map(() => 0);
	let stride = 1;
	for (let d = shape.length - 1; d >= 0; d--) {
		const { base, steps } = at(map.axes, d);
		sourceOffset += base * stride;
		for (let l = 0; l < steps.length; l++) {
			sourceStrides[l] = at(sourceStrides, l) + at(steps, l) * stride;
		}
		stride *= at(shape, d);
	}
	return {
		kind: "gather",
		source: name,
		sourceDtype,
		targetDtype,
		sourceOffset,
		targetOffset: map.targetOffset,
		dims: dimsOf(map, sourceStrides),
	};
}

/** The loops of a map as dims that walk the source by these strides. */
function dimsOf({ loops }: IndexMap, sourceStrides: readonly number[]): PieceDim[] {
	return mergedDims(
		loops.map(({ size, targetStride }, l) => ({
			size,
			sourceStride: at(sourceStrides, l),
			targetStride,
		})),
	);
}
