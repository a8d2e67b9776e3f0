import { createHash } from "node:crypto";
import type { CommandFacts } from "../../core/job-summary.ts";
import type { Family, FamilyItem } from "../../models/family.ts";
import { NEWEST_TARGET, OWN_TARGET } from "../../models/target.ts";

/** The target of a command that names none. */
export function defaultTargetOf(family: string | Family | undefined): string {
	return typeof family === "object" && family.layout === "fsdp" ? OWN_TARGET : NEWEST_TARGET;
}

/**
 * What makes two commands ask for the same family. Of a family of one's own it is all of its content, rule by rule, so that a worker that
 * reads another file is told which rule differs; where the file lies, and how it is written, does not matter.
 */
export function familyFacts(family: string | Family | undefined): CommandFacts {
	if (typeof family !== "object") return { family: family ?? "by config.json" };
	const { name, summary: _, numbers, items, drops, ...rest } = family;
	const facts = new Map<string, string>();
	const add = (what: string, value: unknown): void => {
		let key = `family ${what}`;
		for (let count = 2; facts.has(key); count++) key = `family ${what}, the ${count}th`;
		facts.set(key, JSON.stringify(sorted(value)));
	};
	for (const [number, rule] of Object.entries(numbers)) add(`number ${number}`, rule);
	for (const { target, ...rule } of items.flatMap(tensorsOf)) add(`rule ${target}`, rule);
	for (const { pattern, ...drop } of drops) add(`drop ${pattern}`, drop);
	for (const [key, value] of Object.entries(rest)) add(key, value);
	return {
		family: `${name}, a file with SHA-256 ${digestOf(family)}`,
		...Object.fromEntries(facts),
	};
}

function tensorsOf(item: FamilyItem): readonly Extract<FamilyItem, { kind: "tensor" }>[] {
	if (item.kind === "tensor") return [item];
	return (item.kind === "oneOf" ? item.choices.flat() : item.items).flatMap(tensorsOf);
}

/** 64 hex digits that any other content changes; the summary, which is for people, left out. */
function digestOf({ summary: _unused, ...family }: Family): string {
	return createHash("sha256")
		.update(JSON.stringify(sorted(family)))
		.digest("hex");
}

/** The same value with the keys of all objects in order. */
function sorted(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(sorted);
	if (typeof value !== "object" || value === null) return value;
	const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
	return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
