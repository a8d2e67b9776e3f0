import { expect, test } from "vitest";
import * as api from "../../src/index.ts";
import { fencedBlocks } from "../support/markdown.ts";

/** The names that the programs of docs/api.md import as values. */
function importedNames(): ReadonlySet<string> {
	const programs = fencedBlocks("docs/api.md").filter(({ language }) => language === "ts");
	const lists = programs.flatMap(({ text }) => [
		...text.matchAll(/^import \{([^}]*)\} from "hf-stream-dcp";$/gm),
	]);
	const names = lists.flatMap(([, list = ""]) => list.split(","));
	return new Set(names.map((name) => name.trim()).filter((name) => /^\w+$/.test(name)));
}

test("docs/api.md has an example of every public function and constant, and of nothing else", () => {
	expect([...importedNames()].toSorted()).toEqual(Object.keys(api).toSorted());
});
