import { DTYPES, type Dtype } from "./dtype.ts";
import { HfStreamDcpError } from "./errors.ts";
import type { ElementCodec, ScaleCodec } from "./quantisation.ts";
import { at, formatShape, numel, type Shape, shapesEqual } from "./shape.ts";

/**
 * How a target tensor is made of source tensors: the recipe algebra. Plain data; every node carries the shape and dtype of
 * its value, so that a recipe is checked when it is built. Relayout nodes are exact index maps; only `cast` and `dequant`
 * make values of values.
 */
export type Expr =
	| SourceExpr
	| SliceExpr
	| PermuteExpr
	| ReshapeExpr
	| ConcatExpr
	| StackExpr
	| FillExpr
	| CastExpr
	| DequantExpr;

interface Typed {
	readonly shape: Shape;
	readonly dtype: Dtype;
}

/** All of one source tensor. */
export interface SourceExpr extends Typed {
	readonly kind: "source";
	readonly name: string;
}

/** Elements `start` up to but not including `end` of one axis. */
export interface SliceExpr extends Typed {
	readonly kind: "slice";
	readonly axis: number;
	readonly start: number;
	readonly end: number;
	readonly of: Expr;
}

/** Axis `d` of the value is axis `axes[d]` of the operand, as in `torch.permute`. */
export interface PermuteExpr extends Typed {
	readonly kind: "permute";
	readonly axes: readonly number[];
	readonly of: Expr;
}

/** The same elements in row-major order under another shape. */
export interface ReshapeExpr extends Typed {
	readonly kind: "reshape";
	readonly of: Expr;
}

/** Operands one after the other along an existing axis. */
export interface ConcatExpr extends Typed {
	readonly kind: "concat";
	readonly axis: number;
	readonly parts: readonly Expr[];
}

/** Operands of one shape along a new axis. */
export interface StackExpr extends Typed {
	readonly kind: "stack";
	readonly axis: number;
	readonly parts: readonly Expr[];
}

/** One constant everywhere; no source. */
export interface FillExpr extends Typed {
	readonly kind: "fill";
	readonly value: number;
}

/** Element-wise conversion, rounding to nearest even; NaN becomes the canonical quiet NaN of the target. */
export interface CastExpr extends Typed {
	readonly kind: "cast";
	readonly of: Expr;
}

/**
 * Quantised weights times the scales of their blocks: element `i` is the product, in float32, of the element `i` of `weight` and
 * of the scale `⌊i / block⌋` of `scales`, axis by axis. Made by `core/dequant.ts`.
 */
export interface DequantExpr extends Typed {
	readonly kind: "dequant";
	readonly dtype: "float32";
	/** Its elements in row-major order are those of the value; of a packed codec, several to a byte. */
	readonly weight: SourceExpr;
	readonly codec: ElementCodec;
	/** Of as many dimensions as the value: `⌈shape / block⌉`. */
	readonly scales: SourceExpr;
	readonly scaleCodec: ScaleCodec;
	/** Elements under one scale, along every axis of the value. */
	readonly block: Shape;
}

function invalid(message: string): HfStreamDcpError {
	return new HfStreamDcpError("RECIPE_INVALID", message);
}

function checkAxis(axis: number, rank: number, what: string): void {
	if (!Number.isInteger(axis) || axis < 0 || axis >= rank) {
		throw invalid(`${what}: axis ${axis} of a tensor of ${rank} dimensions`);
	}
}

/** All of the source tensor `name`. */
export function source(name: string, dtype: Dtype, shape: Shape): SourceExpr {
	return { kind: "source", name, dtype, shape };
}

/**
 * Elements `[start, end)` of `axis`.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when they do not lie in `of`.
 */
export function slice(of: Expr, axis: number, start: number, end: number): SliceExpr {
	checkAxis(axis, of.shape.length, "slice");
	if (!(start >= 0 && start <= end && end <= at(of.shape, axis))) {
		throw invalid(`slice ${start}:${end} of axis ${axis} of ${formatShape(of.shape)}`);
	}
	const shape = of.shape.map((size, d) => (d === axis ? end - start : size));
	return { kind: "slice", axis, start, end, of, dtype: of.dtype, shape };
}

/**
 * Reorders dimensions: axis `d` of the value is axis `axes[d]` of `of`.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when `axes` is no permutation of the axes of `of`.
 */
export function permute(of: Expr, axes: readonly number[]): PermuteExpr {
	const sorted = axes.toSorted((a, b) => a - b);
	if (axes.length !== of.shape.length || sorted.some((axis, d) => axis !== d)) {
		throw invalid(`permute ${formatShape(axes)} of ${formatShape(of.shape)}`);
	}
	const shape = axes.map((axis) => at(of.shape, axis));
	return { kind: "permute", axes, of, dtype: of.dtype, shape };
}

/**
 * The same elements, row-major, as `shape`.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the number of elements differs.
 */
export function reshape(of: Expr, shape: Shape): ReshapeExpr {
	if (numel(shape) !== numel(of.shape)) {
		throw invalid(`reshape of ${formatShape(of.shape)} to ${formatShape(shape)}`);
	}
	return { kind: "reshape", of, dtype: of.dtype, shape };
}

function commonDtype(parts: readonly Expr[], what: string): Dtype {
	const first = parts[0];
	if (first === undefined) throw invalid(`${what} of nothing`);
	const other = parts.find((part) => part.dtype !== first.dtype);
	if (other !== undefined) throw invalid(`${what} of ${first.dtype} and ${other.dtype}`);
	return first.dtype;
}

/**
 * `parts` one after the other along `axis`.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the other axes or the dtypes differ.
 */
export function concat(parts: readonly Expr[], axis: number): ConcatExpr {
	const dtype = commonDtype(parts, "concat");
	const first = at(parts, 0).shape;
	checkAxis(axis, first.length, "concat");
	let total = 0;
	for (const part of parts) {
		const fits =
			part.shape.length === first.length &&
			part.shape.every((size, d) => d === axis || size === first[d]);
		if (!fits) throw invalid(`concat of ${formatShape(first)} and ${formatShape(part.shape)}`);
		total += at(part.shape, axis);
	}
	const shape = first.map((size, d) => (d === axis ? total : size));
	return { kind: "concat", axis, parts, dtype, shape };
}

/**
 * `parts` along a new axis that becomes axis `axis` of the value.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when their shapes or dtypes differ.
 */
export function stack(parts: readonly Expr[], axis: number): StackExpr {
	const dtype = commonDtype(parts, "stack");
	const first = at(parts, 0).shape;
	checkAxis(axis, first.length + 1, "stack");
	const odd = parts.find((part) => !shapesEqual(part.shape, first));
	if (odd !== undefined)
		throw invalid(`stack of ${formatShape(first)} and ${formatShape(odd.shape)}`);
	const shape = [...first.slice(0, axis), parts.length, ...first.slice(axis)];
	return { kind: "stack", axis, parts, dtype, shape };
}

/** `value` everywhere. */
export function fill(shape: Shape, value: number, dtype: Dtype): FillExpr {
	return { kind: "fill", value, dtype, shape };
}

/**
 * `of` with every element converted to `dtype`; `of` itself when it has that dtype.
 *
 * @throws {HfStreamDcpError} `DTYPE_UNSUPPORTED` unless both are plain floats of at most 32 bits.
 */
export function cast(of: Expr, dtype: Dtype): Expr {
	if (of.dtype === dtype) return of;
	for (const side of [of.dtype, dtype]) {
		if (!DTYPES[side].isFloat || side === "float64") {
			throw new HfStreamDcpError("DTYPE_UNSUPPORTED", `no cast from ${of.dtype} to ${dtype}`);
		}
	}
	return { kind: "cast", of, dtype, shape: of.shape };
}

/** The source tensors an expression reads, each once, in order of first use. */
export function sourcesOf(expr: Expr): readonly SourceExpr[] {
	const found = new Map<string, SourceExpr>();
	const visit = (node: Expr): void => {
		if (node.kind === "source") {
			if (!found.has(node.name)) found.set(node.name, node);
		} else if (node.kind === "concat" || node.kind === "stack") node.parts.forEach(visit);
		else if (node.kind === "dequant") [node.weight, node.scales].forEach(visit);
		else if (node.kind !== "fill") visit(node.of);
	};
	visit(expr);
	return [...found.values()];
}

/** Whether an expression is the float32 products of quantised weights and their scales, not yet cast to what they are stored as. */
export function isQuantised(expr: Expr): boolean {
	switch (expr.kind) {
		case "dequant":
			return true;
		case "concat":
		case "stack":
			return expr.parts.some(isQuantised);
		case "slice":
		case "permute":
		case "reshape":
			return isQuantised(expr.of);
		case "cast":
		case "fill":
		case "source":
			return false;
	}
}
