import { cast, concat, type Expr, fill, permute, reshape, slice, stack } from "../core/expr.ts";
import { at, type Shape, shapesEqual } from "../core/shape.ts";

/*
 * The relayouts of `core/expr.ts` that take along only what is needed: a slice of a concatenation is one of the parts that it meets. Without
 * that, each of 384 experts would be a slice of all the chunks that hold them together.
 */

/** Elements `[start, end)` of `axis`, with the slice as far inside as it goes. */
export function sliceOf(of: Expr, axis: number, start: number, end: number): Expr {
	if (start === 0 && end === at(of.shape, axis)) return of;
	switch (of.kind) {
		case "slice":
			if (of.axis === axis) return sliceOf(of.of, axis, of.start + start, of.start + end);
			return slice(sliceOf(of.of, axis, start, end), of.axis, of.start, of.end);
		case "permute":
			return permute(sliceOf(of.of, at(of.axes, axis), start, end), of.axes);
		case "cast":
			return cast(sliceOf(of.of, axis, start, end), of.dtype);
		case "fill":
			return fill(of.shape.with(axis, end - start), of.value, of.dtype);
		case "concat":
			return sliceOfConcat(of.parts, of.axis, axis, start, end) ?? slice(of, axis, start, end);
		case "stack":
			if (start === end) return slice(of, axis, start, end);
			if (axis === of.axis) return stack(of.parts.slice(start, end), axis);
			{
				const inner = axis < of.axis ? axis : axis - 1;
				return stack(
					of.parts.map((part) => sliceOf(part, inner, start, end)),
					of.axis,
				);
			}
		case "reshape":
		case "source":
		case "dequant":
			return slice(of, axis, start, end);
	}
}

/** `undefined` when nothing is left of any part. */
function sliceOfConcat(
	parts: readonly Expr[],
	joined: number,
	axis: number,
	start: number,
	end: number,
): Expr | undefined {
	if (axis !== joined) {
		return concat(
			parts.map((part) => sliceOf(part, axis, start, end)),
			joined,
		);
	}
	const met: Expr[] = [];
	let begin = 0;
	for (const part of parts) {
		const size = at(part.shape, axis);
		const from = Math.max(start - begin, 0);
		const to = Math.min(end - begin, size);
		if (from < to) met.push(sliceOf(part, axis, from, to));
		begin += size;
	}
	const [only] = met;
	if (only === undefined) return undefined;
	return met.length === 1 ? only : concat(met, axis);
}

/** As `permute`, with permutations of permutations put together. */
export function permuteOf(of: Expr, axes: readonly number[]): Expr {
	if (axes.every((axis, d) => axis === d)) return of;
	if (of.kind !== "permute") return permute(of, axes);
	return permuteOf(
		of.of,
		axes.map((axis) => at(of.axes, axis)),
	);
}

/** As `reshape`, with reshapes of reshapes put together. */
export function reshapeOf(of: Expr, shape: Shape): Expr {
	if (shapesEqual(of.shape, shape)) return of;
	return of.kind === "reshape" ? reshapeOf(of.of, shape) : reshape(of, shape);
}
