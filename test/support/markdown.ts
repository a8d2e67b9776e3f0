import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

/** A fenced block of a page. */
export interface MarkdownBlock {
	/** Path of the page in the repository. */
	readonly page: string;
	/** Number of the line of its fence, from 1 on. */
	readonly line: number;
	/** First word after the fence: `sh`, `ts`, …; empty when there is none. */
	readonly language: string;
	/** The words after that. */
	readonly marks: readonly string[];
	/** What is between the fences, with its last line break. */
	readonly text: string;
}

/** README.md and the pages of docs/, in the order in which they are walked. */
export function documentedPages(): readonly string[] {
	const pages = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
	return ["README.md", ...pages.toSorted().map((name) => `docs/${name}`)];
}

/** The text of a page of the repository. */
export function readPage(page: string): string {
	return readFileSync(join(ROOT, page), "utf8");
}

/**
 * The fenced blocks of a page, in order.
 *
 * @throws {Error} for a fence that is never closed.
 */
export function fencedBlocks(
	page: string,
	text: string = readPage(page),
): readonly MarkdownBlock[] {
	const blocks: MarkdownBlock[] = [];
	let open: { readonly line: number; readonly info: string; readonly from: number } | undefined;
	const lines = text.split("\n");
	lines.forEach((line, index) => {
		const [, info] = /^\s*```(.*)$/.exec(line) ?? [];
		if (info === undefined) return;
		if (open === undefined) {
			open = { line: index + 1, info, from: index + 1 };
			return;
		}
		const [language = "", ...marks] = open.info.trim().split(/\s+/);
		const inner = lines.slice(open.from, index).map((each) => `${each}\n`);
		blocks.push({ page, line: open.line, language, marks, text: inner.join("") });
		open = undefined;
	});
	if (open !== undefined) throw new Error(`${page}:${open.line}: this fence is never closed`);
	return blocks;
}

/** A page without its fenced blocks; as many lines as before. */
export function prose(text: string): string {
	let inside = false;
	return text
		.split("\n")
		.map((line) => {
			if (/^\s*```/.test(line)) inside = !inside;
			else if (!inside) return line;
			return "";
		})
		.join("\n");
}

/** A link of a page to another place in the repository. */
export interface MarkdownLink {
	readonly line: number;
	/** Relative to the page; empty for a place in the page itself. */
	readonly path: string;
	/** Without `#`; empty when it leads to the whole file. */
	readonly anchor: string;
}

/** The links of a page that lead to no other host. Code spans hold no links. */
export function relativeLinks(text: string): readonly MarkdownLink[] {
	return prose(text)
		.split("\n")
		.flatMap((line, index) => {
			const targets = [
				...line.replaceAll(/`[^`]*`/g, "``").matchAll(/\]\(([^()\s]+)(?:\s+"[^"]*")?\)/g),
			];
			return targets.flatMap(([, target = ""]) => {
				if (/^[a-z]+:/.test(target)) return [];
				const [path = "", anchor = ""] = target.split("#");
				return [{ line: index + 1, path, anchor }];
			});
		});
}

/** The anchors of a page's headings, as GitHub makes them: lower case, punctuation gone, blanks as dashes, numbered when repeated. */
export function headingAnchors(text: string): ReadonlySet<string> {
	const seen = new Map<string, number>();
	const anchors = new Set<string>();
	for (const line of prose(text).split("\n")) {
		const [, title] = /^#{1,6}\s+(.*?)\s*#*$/.exec(line) ?? [];
		if (title === undefined) continue;
		const anchor = title
			.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
			.toLowerCase()
			.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
			.replaceAll(/\s/g, "-");
		const times = seen.get(anchor) ?? 0;
		seen.set(anchor, times + 1);
		anchors.add(times === 0 ? anchor : `${anchor}-${times}`);
	}
	return anchors;
}
