import type { DequantExpr, Expr } from "../../core/expr.ts";
import type { Recipe, SourceNote } from "../../core/recipe.ts";

/**
 * Every quantised weight that `recipes` undo, with what it was and what it becomes: `FP8 in blocks of 128 × 128 becomes bfloat16`.
 *
 * @param stored - What the weights are stored as.
 */
export function dequantisedNotes(
	recipes: readonly Recipe[],
	stored: string,
): readonly SourceNote[] {
	const notes = new Map<string, SourceNote>();
	const visit = (expr: Expr): void => {
		if (expr.kind === "dequant") {
			const { name } = expr.weight;
			notes.set(name, { name, reason: `${describe(expr)} becomes ${stored}` });
		} else if (expr.kind === "concat" || expr.kind === "stack") expr.parts.forEach(visit);
		else if (expr.kind !== "source" && expr.kind !== "fill") visit(expr.of);
	};
	for (const { expr } of recipes) visit(expr);
	return [...notes.values()];
}

function describe({ codec, block }: DequantExpr): string {
	if (codec === "float4_e2m1") return "MXFP4";
	return `FP8 in blocks of ${block.slice(-2).join(" × ")}`;
}
