import type { DropRule, Feature } from "./family.ts";
import type { Numbers } from "./numbers.ts";
import { matchPattern } from "./pattern.ts";

/**
 * Finds the rule that leaves a source tensor out of a target with `features`, by its name; `undefined` where there is none.
 *
 * @throws {HfStreamDcpError} `CONFIG_INVALID` when `config.json` lacks a number that a rule needs.
 */
export function createDrops(
	rules: readonly DropRule[],
	numbers: Numbers,
	features: ReadonlySet<Feature>,
): (name: string) => DropRule | undefined {
	const active = rules.filter(({ unless }) => unless === undefined || !features.has(unless));
	const ranged = active.map((rule) => ({
		rule,
		ranges: Object.entries(rule.where ?? {}).map(([hole, [start, end]]) => ({
			hole,
			start: numbers.evaluate(start),
			end: numbers.evaluate(end),
		})),
	}));
	return (name) =>
		ranged.find(({ rule, ranges }) => {
			const bindings = matchPattern(rule.pattern, name);
			return (
				bindings !== undefined &&
				ranges.every(({ hole, start, end }) => {
					const index = Number(bindings.get(hole));
					return start <= index && index < end;
				})
			);
		})?.rule;
}
