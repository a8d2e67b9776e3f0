import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EXIT_CODES } from "../../src/core/errors.ts";

test("docs/errors.md has one row per code, with its exit code, and no other", () => {
	const text = readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8");
	const rows = [...text.matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)].map(([, code, exit]) => [
		code,
		Number(exit),
	]);
	expect(rows).toEqual(Object.entries(EXIT_CODES));
});

test("every row of docs/errors.md says meaning, cause and remedy", () => {
	const text = readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8");
	for (const row of text.split("\n").filter((line) => line.startsWith("| `"))) {
		const cells = row.split(" | ").map((cell) => cell.replaceAll(/^\| | \|$/g, "").trim());
		expect(cells).toHaveLength(5);
		expect(cells).not.toContain("");
	}
});
