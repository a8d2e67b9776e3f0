import type { Path, Report } from "./issue.ts";
import { suggest } from "./issue.ts";

/** What names mean at one place of a family. */
export interface Scope {
	/** Holes that are bound there. */
	readonly holes: ReadonlySet<string>;
	/** Names of numbers. */
	readonly numbers: ReadonlySet<string>;
}

const HOLE = /\{([a-z]+)\}/g;

/** The name of a hole, as patterns know it. */
export const HOLE_NAME: RegExp = /^[a-z]+$/;

/** The name of a number, as its texts know it. */
export const NUMBER_NAME: RegExp = /^[a-z][a-z0-9_]*$/;

/** The holes of a pattern, in order. */
export function holesIn(pattern: string): readonly string[] {
	return [...pattern.matchAll(HOLE)].flatMap(([, name]) => name ?? []);
}

/** Checks a name with holes of a rule; each hole must be bound. Anything but text is left to the schema. */
export function checkPattern(value: unknown, path: Path, { holes }: Scope, report: Report): void {
	if (typeof value !== "string") return;
	checkBraces(value, path, report);
	if (value.includes("*")) {
		report(path, `${JSON.stringify(value)}: only patterns of drops may have *`);
	}
	for (const name of new Set(holesIn(value))) {
		if (holes.has(name)) continue;
		const bound = [...holes].map((hole) => `{${hole}}`).join(", ") || "none";
		report(path, `${JSON.stringify(value)}: nothing binds {${name}}; holes here: ${bound}`);
	}
}

/** Checks that what stands in braces is a hole. */
export function checkBraces(value: string, path: Path, report: Report): void {
	const odd = /[{}]/.exec(value.replaceAll(HOLE, ""));
	if (odd === null) return;
	report(
		path,
		`${JSON.stringify(value)}: a hole is lower-case letters in braces, such as {layer}; there is no other use for braces`,
	);
}

/** Checks a number: its form, and that its names are those of numbers or holes. Anything but text is left to the schema. */
export function checkNumber(value: unknown, path: Path, scope: Scope, report: Report): void {
	if (typeof value !== "string" || value === "") return;
	const { names, odd } = factorsOf(value);
	if (odd !== undefined) {
		report(
			path,
			`${JSON.stringify(value)}: ${odd === "" ? "something is missing beside +, * or /" : `${JSON.stringify(odd)} is neither a whole number nor a name`}`,
		);
	}
	for (const name of names) {
		if (scope.numbers.has(name) || scope.holes.has(name)) continue;
		const known = [...scope.numbers, ...scope.holes];
		report(path, `${JSON.stringify(value)}: there is no number ${name}${suggest(name, known)}`);
	}
}

/** Checks every number of a shape. */
export function checkShape(value: unknown, path: Path, scope: Scope, report: Report): void {
	if (!Array.isArray(value)) return;
	value.forEach((size, index) => checkNumber(size, [...path, index], scope, report));
}

/** The names in a number's text, each once, and the first factor that is none and no whole number. */
export function factorsOf(text: string): {
	readonly names: readonly string[];
	readonly odd: string | undefined;
} {
	const factors = text.split(/[+*/]/).map((factor) => factor.trim());
	const names = factors.filter((factor) => NUMBER_NAME.test(factor));
	const odd = factors.find((factor) => !NUMBER_NAME.test(factor) && !/^[0-9]+$/.test(factor));
	return { names: [...new Set(names)], odd };
}
