import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { EXIT_CODES } from "../../src/core/errors.ts";
import { readPage } from "../support/markdown.ts";
import { findTools } from "../support/tools.ts";

const ROOT = join(import.meta.dirname, "../..");
const PAGE = join(ROOT, "man/hf-stream-dcp.1");

test("the manual page and the tables of docs/cli.md are those of the built program", async () => {
	const script = join(ROOT, "scripts/build-reference.mjs");
	await promisify(execFile)(process.execPath, [script, "--check"]);
});

test("the manual page and docs/errors.md have every exit code", () => {
	const codes = new Set([0, 1, ...Object.values(EXIT_CODES), 130, 143]);
	const manual = readPage("man/hf-stream-dcp.1");
	const section = manual.slice(
		manual.indexOf(".SH EXIT STATUS"),
		manual.indexOf(".SH ENVIRONMENT"),
	);
	const listed = [...section.matchAll(/^\.B (\d+)$/gm)].map(([, code]) => Number(code));
	expect(listed).toEqual([...codes].toSorted((a, b) => a - b));
	const pages = [...readPage("docs/errors.md").matchAll(/^\|(?: `[A-Z_]+` \|)? (\d+) \|/gm)];
	expect(new Set(pages.map(([, code]) => Number(code)))).toEqual(codes);
});

const groff = findTools(["groff"], "apt install groff");
test.skipIf("skip" in groff)("groff reads the manual page without a warning", () => {
	const { status, stdout, stderr } = spawnSync("groff", ["-man", "-Tutf8", "-ww", PAGE], {
		encoding: "utf8",
	});
	expect([status, stderr]).toEqual([0, ""]);
	expect(stdout).toContain("tensor parallel degree");
});

const mandoc = findTools(["mandoc"], "apt install mandoc");
test.skipIf("skip" in mandoc)("and so does mandoc, but that the page has no date", () => {
	const lint = ["-T", "lint", "-W", "warning", PAGE];
	const { stdout, error } = spawnSync("mandoc", lint, { encoding: "utf8" });
	expect(error).toBeUndefined();
	// A page that is made anew has the date of nothing.
	expect(stdout.replace(/^.*: missing date, .*\n/, "")).toBe("");
});
