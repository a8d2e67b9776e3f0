import {
	findNodeAtLocation,
	getNodeValue,
	type Node,
	type ParseError,
	parseTree,
	printParseErrorCode,
} from "jsonc-parser";
import type { Family } from "../family.ts";
import { type FamilyIssue, formatPath, type Path } from "./issue.ts";
import { familyInvalid, parseFamily } from "./parse-family.ts";

/** Longest text that is read: thousands of times what a family needs. */
const MOST_CHARACTERS = 16 * 1024 * 1024;

/** Parse errors that are told: what follows the first few comes of them. */
const SHOWN_SYNTAX = 3;

/**
 * Reads a family from JSON, in which comments and trailing commas are allowed.
 *
 * @param name - What errors call the text: the path of the file.
 * @throws {HfStreamDcpError} `FAMILY_INVALID` with everything that is wrong, each with its line and column.
 */
export function parseFamilyText(text: string, name: string): Family {
	if (text.length > MOST_CHARACTERS) throw familyInvalid(name, ["is too long for a family"], []);
	const errors: ParseError[] = [];
	const source = text.replace(/^\uFEFF/, "");
	const tree = parseTree(source, errors, { allowTrailingComma: true });
	const lines = createLines(source, name);
	if (tree === undefined || errors.length > 0) {
		const shown = errors.slice(0, SHOWN_SYNTAX).map(({ error, offset }) => {
			const words = printParseErrorCode(error).replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ");
			return `${lines.at(offset)}: no JSON: ${words.toLowerCase()}`;
		});
		throw familyInvalid(name, shown, []);
	}
	const { family, issues = [] } = parseFamily(getNodeValue(tree));
	const doubled = doubledKeys(tree, []);
	if (family !== undefined && doubled.length === 0) return family;
	const placed = [
		...issues.map((issue) => ({ ...issue, offset: offsetOf(tree, issue) })),
		...doubled,
	].toSorted((a, b) => a.offset - b.offset);
	throw familyInvalid(
		name,
		placed.map(({ path, message, offset }) => {
			const where = formatPath(path);
			return `${lines.at(offset)}: ${where === "" ? "" : `${where}: `}${message}`;
		}),
		placed.map(({ path, message, offset }) => ({ path, message, ...lines.place(offset) })),
	);
}

interface PlacedIssue extends FamilyIssue {
	/** Of its first character in the text. */
	readonly offset: number;
}

/** Where in the text `issue` is: at its value or its key, or at the innermost object around it that there is. */
function offsetOf(tree: Node, { path, isKey = false }: FamilyIssue): number {
	for (let length = path.length; length >= 0; length--) {
		const node = findNodeAtLocation(tree, path.slice(0, length));
		if (node === undefined) continue;
		const key = node.parent?.type === "property" ? node.parent.children?.[0] : undefined;
		return isKey && length === path.length && key !== undefined ? key.offset : node.offset;
	}
	return tree.offset;
}

/** Keys that an object has twice: JSON takes the last, whoever wrote it meant both. */
function doubledKeys(node: Node, path: Path): readonly PlacedIssue[] {
	const children = node.children ?? [];
	if (node.type === "array") {
		return children.flatMap((child, index) => doubledKeys(child, [...path, index]));
	}
	const seen = new Set<string>();
	return children.flatMap((property) => {
		const [key, value] = property.children ?? [];
		if (key === undefined) return [];
		const name = String(key.value);
		const inner = value === undefined ? [] : doubledKeys(value, [...path, name]);
		if (!seen.has(name)) {
			seen.add(name);
			return inner;
		}
		const message = "the object has this key already";
		return [{ path: [...path, name], message, offset: key.offset }, ...inner];
	});
}

interface Lines {
	/** Line and column, both from 1. */
	readonly place: (offset: number) => { readonly line: number; readonly column: number };
	/** `my-family.json:12:7` */
	readonly at: (offset: number) => string;
}

function createLines(text: string, name: string): Lines {
	const place = (offset: number): { line: number; column: number } => {
		const before = text.slice(0, offset).split(/\r\n|\r|\n/);
		return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
	};
	const at = (offset: number): string => {
		const { line, column } = place(offset);
		return `${name}:${line}:${column}`;
	};
	return { place, at };
}
