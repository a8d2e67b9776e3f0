import { nearest } from "../nearest.ts";

/** Keys and indices that lead to a value in a family: `["items", 3, "make", "axis"]`. */
export type Path = readonly (string | number)[];

/** One thing that is wrong with a family. */
export interface FamilyIssue {
	readonly path: Path;
	/** What is wrong, and what is allowed. */
	readonly message: string;
	/** Whether it is the key at the end of `path` that is wrong, not its value. */
	readonly isKey?: boolean | undefined;
}

/** Collects what is wrong. */
export type Report = (path: Path, message: string, isKey?: boolean) => void;

/** `items[3].make.axis`; empty for the family as a whole. */
export function formatPath(path: Path): string {
	return path.reduce<string>((text, part) => {
		if (typeof part === "number") return `${text}[${part}]`;
		const name = /^[\w$]+$/.test(part) ? part : JSON.stringify(part);
		return text === "" ? name : `${text}.${name}`;
	}, "");
}

/** `; did you mean heads?`, or all that is allowed when there is nothing alike. */
export function suggest(name: string, allowed: Iterable<string>): string {
	const names = [...allowed];
	const found =
		nearest(name, names) ?? names.find((one) => one.startsWith(name) || name.startsWith(one));
	if (found !== undefined) return `; did you mean ${found}?`;
	return names.length === 0 ? "" : `; there are: ${names.join(", ")}`;
}
