import { isRecord, type JsonRecord } from "../json.ts";
import { checkItems, checkPrefixes } from "./check-items.ts";
import {
	checkBraces,
	checkNumber,
	factorsOf,
	holesIn,
	NUMBER_NAME,
	type Scope,
} from "./check-text.ts";
import { ITEM_KINDS, KEYS, TEMPLATE_KINDS } from "./entries.ts";
import { type FamilyIssue, type Path, type Report, suggest } from "./issue.ts";

/** Numbers that torchtitan's layout cannot do without. */
const TORCHTITAN_NUMBERS = ["layers", "heads", "kv_heads"] as const;

/**
 * Checks what the schema cannot: what one key says about another. `value` may be anything; what the schema refuses is passed over, so that
 * everything that is wrong is found at once.
 */
export function checkMeaning(value: unknown): readonly FamilyIssue[] {
	const issues: FamilyIssue[] = [];
	const report: Report = (path, message, isKey = false) => issues.push({ path, message, isKey });
	if (!isRecord(value)) return issues;
	checkKeys(value, [], "family", report);
	checkName(value["name"], report);
	const numbers = isRecord(value["numbers"]) ? value["numbers"] : {};
	const scope: Scope = { holes: new Set(), numbers: new Set(Object.keys(numbers)) };
	checkNumbers(numbers, scope, report);
	checkNeeds(value, scope, report);
	for (const name of isRecord(value["otherHeads"]) ? Object.keys(value["otherHeads"]) : []) {
		if (scope.numbers.has(name)) continue;
		const hint = suggest(name, scope.numbers);
		report(["otherHeads", name], `there is no number ${name}${hint}`, true);
	}
	checkPrefixes(value["prefixes"], ["prefixes"], report);
	checkItems(value["items"], ["items"], scope, report);
	checkDrops(value["drops"], scope, report);
	return issues;
}

function checkName(name: unknown, report: Report): void {
	if (typeof name !== "string" || name === "") return;
	if (name === "hf") report(["name"], "hf is the name of the family of --target hf");
	else if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
		report(["name"], `${JSON.stringify(name)}: a name is letters, digits, and . _ - between them`);
	}
}

function checkNumbers(numbers: JsonRecord, scope: Scope, report: Report): void {
	for (const [name, rule] of Object.entries(numbers)) {
		const path = ["numbers", name];
		if (!NUMBER_NAME.test(name)) {
			report(path, `${JSON.stringify(name)}: a name is lower-case letters, digits and _`, true);
		}
		if (!isRecord(rule)) continue;
		const { keys } = rule;
		if (Array.isArray(keys) && keys.length === 0 && rule["default"] === undefined) {
			report([...path, "keys"], "no key and no default: it can never have a value");
		}
		checkNumber(rule["default"], [...path, "default"], scope, report);
		if (reaches(name, name, numbers, new Set())) {
			report([...path, "default"], `${name} follows from itself`);
		}
	}
}

/** Whether the default of `from` needs `to`, itself or through other defaults. */
function reaches(from: string, to: string, numbers: JsonRecord, seen: Set<string>): boolean {
	const rule = numbers[from];
	const text = isRecord(rule) ? rule["default"] : undefined;
	if (typeof text !== "string" || seen.has(from)) return false;
	seen.add(from);
	const { names } = factorsOf(text);
	return names.includes(to) || names.some((name) => reaches(name, to, numbers, seen));
}

function checkNeeds(value: JsonRecord, { numbers }: Scope, report: Report): void {
	if (!isRecord(value["numbers"]) || value["layout"] === "fsdp") return;
	for (const name of TORCHTITAN_NUMBERS) {
		if (!numbers.has(name)) report(["numbers"], `there must be a number called ${name}`);
	}
}

function checkDrops(value: unknown, scope: Scope, report: Report): void {
	if (!Array.isArray(value)) return;
	const seen = new Map<string, number>();
	value.forEach((drop: unknown, index) => {
		if (!isRecord(drop)) return;
		const path: Path = ["drops", index];
		const { pattern, where, unless } = drop;
		if (typeof pattern !== "string") return;
		checkBraces(pattern, [...path, "pattern"], report);
		if (/^\**$/.test(pattern)) {
			report(
				[...path, "pattern"],
				"drops everything: name what is not needed, so that the rest is proven",
			);
		}
		const key = JSON.stringify([pattern, where, unless]);
		const before = seen.get(key);
		if (before === undefined) seen.set(key, index);
		else report([...path, "pattern"], `is never asked: it is the same as drops[${before}]`);
		checkWhere(where, holesIn(pattern), [...path, "where"], scope, report);
	});
}

function checkWhere(
	where: unknown,
	holes: readonly string[],
	path: Path,
	scope: Scope,
	report: Report,
): void {
	if (!isRecord(where)) return;
	for (const [hole, range] of Object.entries(where)) {
		const at = [...path, hole];
		if (!holes.includes(hole)) {
			report(at, `the pattern has no hole {${hole}}${suggest(hole, holes)}`, true);
		}
		if (!Array.isArray(range)) continue;
		range.forEach((end, index) => checkNumber(end, [...at, index], scope, report));
	}
}

/** Reports keys that nothing reads, here and in everything below. */
function checkKeys(value: unknown, path: Path, what: string, report: Report): void {
	if (Array.isArray(value)) {
		value.forEach((one, index) => checkKeys(one, [...path, index], what, report));
		return;
	}
	if (!isRecord(value)) return;
	const kinds = what === "item" ? ITEM_KINDS : what === "template" ? TEMPLATE_KINDS : undefined;
	const { kind } = value;
	if (kinds !== undefined && (typeof kind !== "string" || !kinds.includes(kind))) return;
	const known = KEYS[kinds === undefined ? what : String(kind)] ?? [];
	for (const [key, inner] of Object.entries(value)) {
		const at = [...path, key];
		if (!known.includes(key)) report(at, `there is no key ${key} here${suggest(key, known)}`, true);
		else if (key === "numbers") checkEntries(inner, at, report);
		else {
			const of = WHAT[key];
			if (of !== undefined) checkKeys(inner, at, of, report);
		}
	}
}

/** What the values under these keys are. */
const WHAT: { readonly [key: string]: string } = {
	items: "item",
	choices: "item",
	make: "template",
	tied: "template",
	of: "template",
	parts: "template",
	drops: "drop",
};

function checkEntries(value: unknown, path: Path, report: Report): void {
	if (!isRecord(value)) return;
	for (const [name, rule] of Object.entries(value)) {
		checkKeys(rule, [...path, name], "number", report);
	}
}
