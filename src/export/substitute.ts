import { concat, type Expr, stack } from "../core/expr.ts";
import { invariant } from "../core/errors.ts";
import type { Leaf } from "./invert.ts";
import { permuteOf, reshapeOf, sliceOf } from "./relayout.ts";

/**
 * An expression with its leaves replaced, each by one of its shape. Casts are left out: the value has the dtype of what the leaves are
 * replaced by, which is the same for all of them.
 */
export function substitute(expr: Expr, replace: (leaf: Leaf) => Expr): Expr {
	switch (expr.kind) {
		case "source":
		case "dequant":
			return replace(expr);
		case "cast":
			return substitute(expr.of, replace);
		case "permute":
			return permuteOf(substitute(expr.of, replace), expr.axes);
		case "reshape":
			return reshapeOf(substitute(expr.of, replace), expr.shape);
		case "slice":
			return sliceOf(substitute(expr.of, replace), expr.axis, expr.start, expr.end);
		case "concat":
			return concat(
				expr.parts.map((part) => substitute(part, replace)),
				expr.axis,
			);
		case "stack":
			return stack(
				expr.parts.map((part) => substitute(part, replace)),
				expr.axis,
			);
		case "fill":
			invariant(false, "a constant has no leaf to replace");
	}
}
