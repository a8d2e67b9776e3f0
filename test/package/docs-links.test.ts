import { execFile } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { documentedPages, headingAnchors, readPage, relativeLinks } from "../support/markdown.ts";

const ROOT = join(import.meta.dirname, "../..");

const PAGES = [
	...documentedPages(),
	...readdirSync(join(ROOT, "docs/adr")).map((name) => `docs/adr/${name}`),
	"ARCHITECTURE.md",
	"CONTRIBUTING.md",
	"bench/README.md",
	"deploy/README.md",
];

/** Links of a page that lead nowhere. */
function brokenLinks(page: string, text = readPage(page)): string[] {
	return relativeLinks(text).flatMap(({ line, path, anchor }) => {
		const target = path === "" ? page : normalize(join(dirname(page), path));
		const link = `${page}:${line} ${path}${anchor === "" ? "" : `#${anchor}`}`;
		const isThere = target === page || existsSync(join(ROOT, target));
		if (target.startsWith("..") || !isThere) return [link];
		if (anchor === "") return [];
		if (!target.endsWith(".md")) return [link];
		return headingAnchors(target === page ? text : readPage(target)).has(anchor) ? [] : [link];
	});
}

test("the check sees what is broken", () => {
	const text = [
		"# A page, `with --flags`",
		"## Twice",
		"## Twice",
		"[a](cli.md) [b](nowhere.md) [c](cli.md#workers) [d](cli.md#nothing) [e](#a-page-with---flags)",
		"[f](#twice-1) [g](#twice-2) [h](https://example.org/x) `[i](in-code.md)` [j](../../outside.md)",
		"```sh",
		"[k](fenced.md)",
		"```",
		"[l](../LICENSE#text)",
	].join("\n");
	expect(brokenLinks("docs/page.md", text)).toEqual([
		"docs/page.md:4 nowhere.md",
		"docs/page.md:4 cli.md#nothing",
		"docs/page.md:5 #twice-2",
		"docs/page.md:5 ../../outside.md",
		"docs/page.md:9 ../LICENSE#text",
	]);
});

test.each(PAGES)("the links of %s lead somewhere", (page) => {
	expect(brokenLinks(page)).toEqual([]);
});

test.each(PAGES)("the files of this project that %s names are there", (page) => {
	const named = [
		...readPage(page).matchAll(/`((?:src|test|scripts|bench|deploy|docs)\/[\w./-]*)`/g),
	];
	const missing = named.filter(([, path = ""]) => !existsSync(join(ROOT, path)));
	expect(missing.map(([, path]) => path)).toEqual([]);
});

test("every page of docs/ can be found from README.md", () => {
	const reached = new Set(["README.md"]);
	for (const page of reached) {
		if (!page.endsWith(".md")) continue;
		for (const { path } of relativeLinks(readPage(page))) {
			const target = normalize(join(dirname(page), path));
			if (path !== "" && statSync(join(ROOT, target)).isFile()) reached.add(target);
		}
	}
	expect(PAGES.filter((page) => !reached.has(page))).toEqual([]);
});

test("README.md has at most 200 lines", () => {
	expect(readPage("README.md").trimEnd().split("\n").length).toBeLessThanOrEqual(200);
});

test("docs/benchmarks.md is made of the results, and the README's figures are its", async () => {
	const script = join(ROOT, "bench/section.mjs");
	const { stdout } = await promisify(execFile)(process.execPath, [script]);
	expect(readPage("docs/benchmarks.md")).toBe(stdout);
	const rows = readPage("README.md").match(/^\| .* CPU-s, .* \|$/gm) ?? [];
	expect(rows).toHaveLength(6);
	for (const row of rows) expect(stdout).toContain(`${row}\n`);
});
