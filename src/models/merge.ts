import { invariant } from "../core/errors.ts";
import type { Expr } from "../core/expr.ts";
import { shapesEqual } from "../core/shape.ts";
import type { MadeTensor } from "./instantiate.ts";
import type { Numbers } from "./numbers.ts";
import { type Bindings, fillPattern, matchPattern } from "./pattern.ts";
import type { Merge } from "./releases.ts";
import {
	buildTemplate,
	templatePatterns,
	templateSources,
	type TemplateScope,
} from "./template.ts";

/**
 * Puts every set of target tensors that `merges` names together; the result stands where the first of the set stood.
 *
 * @throws {HfStreamDcpError} `CONFIG_INVALID` when a number of a merge cannot be had.
 */
export function applyMerges(
	made: readonly MadeTensor[],
	merges: readonly Merge[],
	numbers: Numbers,
): readonly MadeTensor[] {
	return merges.reduce((tensors, merge) => applyMerge(tensors, merge, numbers), made);
}

function applyMerge(
	made: readonly MadeTensor[],
	merge: Merge,
	numbers: Numbers,
): readonly MadeTensor[] {
	const byTarget = new Map<string, Expr>(made.map(({ target, expr }) => [target, expr]));
	const leader = templatePatterns(merge.make)[0] ?? "";
	const consumed = new Set<string>();
	const merged = new Map<string, MadeTensor>();
	for (const { target } of made) {
		const bindings = matchPattern(leader, target);
		if (bindings === undefined) continue;
		const scope: TemplateScope = {
			lookup: (name) => byTarget.get(name),
			evaluate: numbers.evaluate,
			indices: indicesOf(bindings),
		};
		for (const name of templateSources(merge.make, scope)) consumed.add(name);
		const expr = buildTemplate(merge.make, scope);
		const key = fillPattern(merge.target, bindings);
		invariant(shapesEqual(expr.shape, merge.shape.map(numbers.evaluate)), `shape of ${key}`);
		merged.set(target, { target: key, expr, keepDtype: false, isTied: false });
	}
	return made.flatMap((tensor) => {
		const whole = merged.get(tensor.target);
		if (whole !== undefined) return [whole];
		return consumed.has(tensor.target) ? [] : [tensor];
	});
}

function indicesOf(bindings: Bindings): ReadonlyMap<string, number> {
	return new Map([...bindings].map(([name, value]) => [name, Number(value)]));
}
