import type { SourceNote } from "../index.ts";
import { plural } from "./format.ts";

/** The first of a list of names, and whether there are more. */
export function firstOf(names: readonly string[]): string {
	const [first = ""] = names;
	return names.length > 1 ? `${first}, …` : first;
}

/**
 * One line per reason: how many tensors it concerns, and the first of their names.
 *
 * @param what - What one of them is called. @default "tensor"
 */
export function summariseNotes(notes: readonly SourceNote[], what = "tensor"): string[] {
	const byReason = new Map<string, string[]>();
	for (const { name, reason } of notes) {
		const names = byReason.get(reason);
		if (names === undefined) byReason.set(reason, [name]);
		else names.push(name);
	}
	return [...byReason].map(
		([reason, names]) => `${plural(names.length, what)}: ${reason} (${firstOf(names)})`,
	);
}
