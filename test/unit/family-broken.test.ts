import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import type { Family } from "../../src/models/family.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { parseFamily } from "../../src/models/schema/parse-family.ts";
import { checkCoverage } from "../../src/plan/check.ts";
import { BROKEN_FAMILIES, type Finder } from "../support/broken-families.ts";
import { type SmallModel, sourceOf, traceableBytes } from "../support/model-sources.ts";
import { evaluateExpr } from "../support/naive-expr.ts";

/** What of ours finds a mistake, and what it says; or the map that comes of it. */
function check(
	family: unknown,
	{ config, shapes }: SmallModel,
): { readonly found: Finder; readonly says: string } | { readonly map: ModelMap } {
	const parsed = parseFamily(family);
	if (parsed.issues !== undefined) {
		return { found: "file", says: parsed.issues.map(({ message }) => message).join("\n") };
	}
	const source = sourceOf(config, shapes);
	let found: Finder = "names and shapes";
	try {
		const map = mapModel({ source, family: parsed.family });
		found = "elements";
		checkCoverage(source, map);
		return { map };
	} catch (error) {
		if (!isHfStreamDcpError(error)) throw error;
		return { found, says: error.message };
	}
}

/** The bytes of every tensor of the checkpoint, by key. */
function valuesOf(map: ModelMap, { shapes }: SmallModel): ReadonlyMap<string, string> {
	return new Map(
		map.recipes.map(({ fqn, expr }) => [
			fqn,
			Buffer.from(evaluateExpr(expr, (name) => traceableBytes(name, shapes[name]!))).toString(
				"base64",
			),
		]),
	);
}

function soundMap(family: Family, { config, shapes }: SmallModel): ModelMap {
	const source = sourceOf(config, shapes);
	const map = mapModel({ source, family });
	checkCoverage(source, map);
	return map;
}

describe.each(BROKEN_FAMILIES)("$mistake", ({ found, says, model, sound, broken }) => {
	const checked = check(broken, model);

	test(`is found by: ${found}`, () => {
		if ("found" in checked) {
			expect(checked.found).toBe(found);
			expect(checked.says).toContain(says);
			return;
		}
		expect(says).toBeUndefined();
		const [right, wrong] = [soundMap(sound, model), checked.map].map((map) => valuesOf(map, model));
		const keysAreRight =
			right!.size === wrong!.size && [...right!.keys()].every((key) => wrong!.has(key));
		expect(keysAreRight ? "logits" : "load").toBe(found);
		// It is a mistake: what the trainer loads is something else.
		expect(wrong).not.toEqual(right);
	});
});

test("docs/families.md lists all of them", () => {
	const text = readFileSync(join(import.meta.dirname, "../../docs/families.md"), "utf8");
	const rows = text
		.split("\n")
		.filter((line) => / \| (file|names and shapes|elements|load|logits) \|/.test(line))
		.map((line) =>
			line
				.split("|")
				.slice(1, 3)
				.map((cell) => cell.trim()),
		);
	expect(rows).toEqual(BROKEN_FAMILIES.map(({ mistake, found }) => [mistake, found]));
});
