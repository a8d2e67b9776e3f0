import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

const FILES = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
	.filter((path) => path.endsWith(".ts"))
	.map((path) => join("src", path));

/** Declarations only: a re-export (`export { … } from`) has its comment where it is declared. */
const EXPORTED =
	/^export (?:declare )?(?:async )?(?:function\*?|const|class|interface|type|abstract class) (\w+)/;

/** Names exported on a line whose line above does not end a doc comment. */
function undocumented(text: string): string[] {
	const lines = text.split("\n");
	return lines.flatMap((line, index) => {
		const name = EXPORTED.exec(line)?.[1];
		if (name === undefined) return [];
		// Overloads and the like: the line above may be another line of the same declaration.
		return (lines[index - 1] ?? "").trimEnd().endsWith("*/") ? [] : [name];
	});
}

describe("every exported symbol has a doc comment", () => {
	test("the check sees one that is missing", () => {
		expect(undocumented("/** What. */\nexport const a = 1;\nexport function b() {}\n")).toEqual([
			"b",
		]);
		expect(undocumented("\nexport async function* c() {}")).toEqual(["c"]);
		expect(undocumented("export type { A } from './a.ts';\n")).toEqual([]);
	});

	test.each(FILES)("%s", (path) => {
		expect(undocumented(readFileSync(join(ROOT, path), "utf8"))).toEqual([]);
	});
});
