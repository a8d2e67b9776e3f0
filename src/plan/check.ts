import { wholeBox } from "../core/box.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Expr } from "../core/expr.ts";
import type { ModelMap } from "../core/recipe.ts";
import { numel, type Shape } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import { countOf } from "./footprint.ts";
import { pull } from "./pull.ts";

/**
 * Proves that every source element is used exactly once, tied, or dropped by name.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` naming the tensors for which that is not so.
 */
export function checkSourceUse(
	tensors: readonly { readonly fqn: string; readonly expr: Expr; readonly shape: Shape }[],
	source: Source,
	map: ModelMap,
): void {
	const used = new Map<string, number>();
	for (const { expr, shape } of tensors) {
		for (const piece of pull(expr, wholeBox(shape))) {
			if (piece.kind !== "gather") continue;
			used.set(piece.source, (used.get(piece.source) ?? 0) + countOf(piece.dims));
		}
	}
	const tied = new Set(map.tied.map((note) => note.name));
	const dropped = new Set(map.dropped.map((note) => note.name));
	const wrong: string[] = [];
	for (const tensor of source.tensors) {
		const elements = numel(tensor.shape);
		const count = used.get(tensor.name) ?? 0;
		used.delete(tensor.name);
		const wanted = dropped.has(tensor.name) ? 0 : elements;
		const isStoredAgain = wanted > 0 && count > wanted && tied.has(tensor.name);
		const isRight = count === wanted || isStoredAgain;
		if (!isRight) wrong.push(`${tensor.name} (${count} of ${elements} elements used)`);
	}
	wrong.push(...[...used.keys()].map((name) => `${name} (not in the source)`));
	if (wrong.length === 0) return;
	throw new HfStreamDcpError(
		"RECIPE_INVALID",
		`the recipes of family ${map.family} do not use every source element exactly once: ${wrong.slice(0, 20).join(", ")}${wrong.length > 20 ? `, and ${wrong.length - 20} more` : ""}`,
		{ hint: "Name the tensors in a rule of the family: used, tied or dropped.", facts: { wrong } },
	);
}
