import { HfStreamDcpError, invariant } from "../core/errors.ts";
import type { Expr } from "../core/expr.ts";
import { shapesEqual } from "../core/shape.ts";
import type { MadeTensor } from "./instantiate.ts";
import type { Numbers } from "./numbers.ts";
import { type Bindings, fillPattern, matchPattern } from "./pattern.ts";
import type { Merge } from "./release.ts";
import {
	buildTemplate,
	templatePatterns,
	templateSources,
	type TemplateScope,
} from "./template.ts";

/**
 * Puts every set of target tensors that `merges` names together; the result stands where the first of the set stood.
 *
 * @throws {HfStreamDcpError} `CONFIG_INVALID` when a number of a merge cannot be had, `RECIPE_INVALID` when the tensors of a set differ
 * in dtype.
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
	const tied = new Set(made.filter(({ isTied }) => isTied).map(({ target }) => target));
	const leader = templatePatterns(merge.make)[0] ?? "";
	const consumed = new Set<string>();
	const merged = new Map<string, MadeTensor>();
	for (const { target } of made) {
		const bindings = matchPattern(leader, target);
		if (bindings === undefined) continue;
		const scope: TemplateScope = {
			lookup: (name) => byTarget.get(name),
			evaluate: numbers.evaluate,
			repeat: numbers.evaluate,
			indices: indicesOf(bindings),
		};
		const key = fillPattern(merge.target, bindings);
		const parts = templateSources(merge.make, scope);
		for (const name of parts) consumed.add(name);
		assertOneDtype(key, parts, byTarget);
		const expr = buildTemplate(merge.make, scope);
		invariant(
			shapesEqual(
				expr.shape,
				merge.shape.map((size) => numbers.evaluate(size)),
			),
			`shape of ${key}`,
		);
		const isTied = parts.some((name) => tied.has(name));
		merged.set(target, { target: key, expr, keepDtype: false, isTied });
	}
	return made.flatMap((tensor) => {
		const whole = merged.get(tensor.target);
		if (whole !== undefined) return [whole];
		return consumed.has(tensor.target) ? [] : [tensor];
	});
}

function assertOneDtype(
	key: string,
	parts: readonly string[],
	byTarget: ReadonlyMap<string, Expr>,
): void {
	const dtypes = parts.map((name) => byTarget.get(name)?.dtype);
	if (new Set(dtypes).size <= 1) return;
	const each = parts.map((name, index) => `${name} is ${dtypes[index]}`).join(", ");
	throw new HfStreamDcpError("RECIPE_INVALID", `${key} is one tensor, but of its parts ${each}`, {
		hint: "Use a target that stores them apart, or a source of one dtype.",
		facts: { key, parts },
	});
}

function indicesOf(bindings: Bindings): ReadonlyMap<string, number> {
	return new Map([...bindings].map(([name, value]) => [name, Number(value)]));
}
