import type { Argument, Option } from "commander";

const SUGGESTIONS = new WeakMap<Option | Argument, () => readonly string[]>();

/**
 * Says what a shell may complete as the value of a flag or an argument. What is accepted is decided elsewhere: commander's own
 * `choices` would be the end of it.
 *
 * @param values - Asked when a completion script is made.
 * @returns `to`.
 */
export function suggest<T extends Option | Argument>(to: T, values: () => readonly string[]): T {
	SUGGESTIONS.set(to, values);
	return to;
}

/** What a shell may complete as the value: what was suggested, or the choices. */
export function suggestionsFor(of: Option | Argument): readonly string[] {
	const suggested = SUGGESTIONS.get(of)?.() ?? [];
	return suggested.length > 0 ? suggested : (of.argChoices ?? []);
}

/** The names in a list of lines, of which the first word is a name: `listTargets()`, without those that stand for others. */
export function namesOf(lines: readonly string[]): readonly string[] {
	const words = lines.map((line) => line.split(/\s/, 1)[0] ?? "");
	return words.filter((word) => !/…|YYYY/.test(word));
}
