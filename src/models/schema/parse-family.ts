import * as v from "valibot";
import { HfStreamDcpError } from "../../core/errors.ts";
import type { Family } from "../family.ts";
import { isRecord } from "../json.ts";
import { checkMeaning } from "./check-family.ts";
import { familySchema, ITEM_KINDS, TEMPLATE_KINDS } from "./entries.ts";
import { type FamilyIssue, formatPath, type Path, suggest } from "./issue.ts";

/** Deepest nesting of a family: far beyond any rule, and far below what recursion can do. */
const MOST_LEVELS = 100;

/** A family, or everything that is wrong with it. */
export type ParsedFamily =
	| { readonly family: Family; readonly issues?: undefined }
	| { readonly family?: undefined; readonly issues: readonly FamilyIssue[] };

/** Reads a family from JSON that was parsed already, and fills in what a family may leave out. */
export function parseFamily(value: unknown): ParsedFamily {
	if (!isRecord(value)) {
		return { issues: [{ path: [], message: `expected an object, got ${shown(value)}` }] };
	}
	const tooDeep = deeperThan(value, MOST_LEVELS, []);
	if (tooDeep !== undefined) {
		return { issues: [{ path: tooDeep, message: "is nested too deep, or contains itself" }] };
	}
	const result = v.safeParse(familySchema, value);
	const structure = result.success ? [] : result.issues.flatMap(issueOf);
	const issues = [...structure, ...checkMeaning(value)];
	return result.success && issues.length === 0 ? { family: result.output } : { issues };
}

/** Where `value` has more than `levels` levels. */
function deeperThan(value: unknown, levels: number, path: Path): Path | undefined {
	if (typeof value !== "object" || value === null) return undefined;
	if (levels === 0) return path.slice(0, 6);
	for (const [key, inner] of Object.entries(value)) {
		const step = Array.isArray(value) ? Number(key) : key;
		const found = deeperThan(inner, levels - 1, [...path, step]);
		if (found !== undefined) return found;
	}
	return undefined;
}

function issueOf(issue: v.BaseIssue<unknown>): readonly FamilyIssue[] {
	const path = (issue.path ?? []).map(({ key }) => (typeof key === "number" ? key : String(key)));
	const { type, expected, input } = issue;
	if (type === "strict_object") {
		// Keys that nothing reads are reported by the checks, all of them.
		if (expected === "never") return [];
		if (expected === "Object")
			return [{ path, message: `expected an object, got ${shown(input)}` }];
		return [{ path: path.slice(0, -1), message: `${String(path.at(-1))} is missing` }];
	}
	if (type === "variant") return [kindIssue(path, input, expected ?? "")];
	return [{ path, message: `${issue.message}, got ${shown(input)}` }];
}

function kindIssue(path: Path, input: unknown, expected: string): FamilyIssue {
	const isItem = expected.includes('"tensor"') || path.at(-1) === "items";
	const kinds = expected.includes('"slice"') || !isItem ? TEMPLATE_KINDS : ITEM_KINDS;
	if (expected === "Object") {
		const what = isInItems(path)
			? `an item: an object with a kind (${ITEM_KINDS.join(", ")})`
			: `a template: the name of a source, or an object with a kind (${TEMPLATE_KINDS.join(", ")})`;
		return { path, message: `expected ${what}, got ${shown(input)}` };
	}
	if (input === undefined) {
		return { path: path.slice(0, -1), message: `kind is missing; kinds: ${kinds.join(", ")}` };
	}
	const hint = typeof input === "string" ? suggest(input, kinds) : `; kinds: ${kinds.join(", ")}`;
	return { path, message: `there is no kind ${shown(input)}${hint}` };
}

/** Whether a value at `path` is an item of a list of items. */
function isInItems(path: Path): boolean {
	const [list, index] = path.slice(-2);
	return typeof index === "number" && (list === "items" || typeof list === "number");
}

function shown(input: unknown): string {
	if (input === undefined) return "nothing";
	if (Array.isArray(input)) return "a list";
	return isRecord(input) ? "an object" : (JSON.stringify(input) ?? typeof input);
}

/** What a family may leave out. */
type Optional = "summary" | "modelTypes" | "architectures" | "prefixes" | "drops";

/** A family as authors write it: what a family of one's own has no use for may be left out. */
export type FamilyInput = Omit<Family, Optional> & Partial<Pick<Family, Optional>>;

/**
 * Checks a family and fills in what was left out.
 *
 * @throws {HfStreamDcpError} `FAMILY_INVALID` with everything that is wrong and where; `facts.issues` is a {@link FamilyIssue}[].
 */
export function defineFamily(input: FamilyInput): Family {
	const { family, issues } = parseFamily(input);
	if (family !== undefined) return family;
	throw familyInvalid(
		"the family",
		issues.map((issue) => `${formatPath(issue.path) || "the family"}: ${issue.message}`),
		issues,
	);
}

/** The error that lists what is wrong with a family, one line each. */
export function familyInvalid(
	what: string,
	lines: readonly string[],
	issues: readonly FamilyIssue[],
): HfStreamDcpError {
	const count = lines.length === 1 ? "" : `, in ${lines.length} places`;
	return new HfStreamDcpError(
		"FAMILY_INVALID",
		[`${what} cannot be used${count}:`, ...lines.map((line) => `  ${line}`)].join("\n"),
		{
			hint: "docs/families.md says what a family may hold; `hf-stream-dcp family show llama3` prints one.",
			facts: { issues },
		},
	);
}
