import type { Family } from "../index.ts";

/** Longest line that holds a whole list or object. */
const LINE_WIDTH = 100;

/** A value as JSON for people: what fits into a line is one, everything else has a line for each part. */
function readableJson(value: unknown, indent = ""): string {
	const flat = flatJson(value);
	if (indent.length * 4 + flat.length <= LINE_WIDTH || typeof value !== "object") return flat;
	const inner = `${indent}\t`;
	const parts = Array.isArray(value)
		? value.map((part) => readableJson(part, inner))
		: Object.entries(value ?? {}).map(
				([key, part]) => `${JSON.stringify(key)}: ${readableJson(part, inner)}`,
			);
	const [open, close] = Array.isArray(value) ? "[]" : "{}";
	return `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close}`;
}

/** On one line, with blanks after commas and colons. */
function flatJson(value: unknown): string {
	if (Array.isArray(value)) return `[${value.map(flatJson).join(", ")}]`;
	if (typeof value !== "object" || value === null) return JSON.stringify(value);
	const entries = Object.entries(value).filter(([, part]) => part !== undefined);
	if (entries.length === 0) return "{}";
	return `{ ${entries.map(([key, part]) => `${JSON.stringify(key)}: ${flatJson(part)}`).join(", ")} }`;
}

/** A family as JSON for people to start from. */
export function familyJson(family: Family): string {
	return readableJson(family);
}
