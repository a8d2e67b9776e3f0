import { wholeBox } from "../core/box.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Expr } from "../core/expr.ts";
import type { ModelMap } from "../core/recipe.ts";
import { numel, type Shape } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../core/quantisation.ts";
import { exactRanges, rangeBytes } from "./footprint.ts";
import { countOf, type Hull, hullsOf } from "./hulls.ts";
import type { Places } from "./places.ts";
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
	places: Places,
): void {
	const used = usedElements(tensors, places);
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

/** How many elements of each source tensor are used, as often as they are; scales once, however many weights need them. */
function usedElements(
	tensors: readonly { readonly expr: Expr; readonly shape: Shape }[],
	places: Places,
): Map<string, number> {
	const used = new Map<string, number>();
	const scales = new Map<string, { readonly width: number; readonly hulls: Hull[] }>();
	const use = (name: string, count: number): unknown =>
		used.set(name, (used.get(name) ?? 0) + count);
	for (const { expr, shape } of tensors) {
		for (const piece of pull(expr, wholeBox(shape))) {
			if (piece.kind === "gather") use(piece.source, countOf(piece.dims));
			if (piece.kind !== "dequant") continue;
			use(piece.source, (countOf(piece.dims) * ELEMENT_BITS[piece.codec]) / 8);
			const of = scales.get(piece.scales) ?? { width: SCALE_BYTES[piece.scaleCodec], hulls: [] };
			scales.set(piece.scales, of);
			of.hulls.push(...hullsOf([piece], places).filter(({ reads }) => reads === "scales"));
		}
	}
	for (const [name, { width, hulls }] of scales) {
		use(name, rangeBytes(exactRanges(hulls, Number.POSITIVE_INFINITY) ?? []) / width);
	}
	return used;
}
