import { concat, type Expr, slice } from "../core/expr.ts";
import { at } from "../core/shape.ts";
import { chooseElements } from "./shown-elements.ts";

/** The elements of an expression's value that are shown, and no others: its corners, put together. */
export function edgesOf(expr: Expr): Expr {
	const { indices } = chooseElements(expr.shape);
	return indices.reduce((of: Expr, own, axis) => {
		const size = at(of.shape, axis);
		if (own.length === size) return of;
		const half = own.length / 2;
		return concat([slice(of, axis, 0, half), slice(of, axis, size - half, size)], axis);
	}, expr);
}
