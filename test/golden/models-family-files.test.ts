import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { familyJson } from "../../src/cli/family-json.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { builtInFamily, FAMILIES } from "../../src/models/registry.ts";
import { parseFamilyText } from "../../src/models/schema/family-text.ts";
import { checkCoverage } from "../../src/plan/check.ts";
import { ADAPTER_CASES } from "../support/adapter-cases.ts";
import { type Shapes, sourceOf } from "../support/model-sources.ts";

const covered = new Set<string>();

test.each(ADAPTER_CASES)(
	"$golden: its family, shown and given back, makes the identical map",
	(one) => {
		const path = join(import.meta.dirname, `../fixtures/torchtitan-adapters/${one.golden}.json`);
		const { source: shapes } = JSON.parse(readFileSync(path, "utf8")) as {
			readonly source: Shapes;
		};
		const source = sourceOf(one.config, { ...shapes, ...one.extra });
		const map = mapModel({ source, target: one.target });
		covered.add(map.family);
		const family = parseFamilyText(familyJson(builtInFamily(map.family)), "shown.json");
		expect(mapModel({ source, target: one.target, family })).toEqual(map);
		// The real models' elements are proven place by place, whatever reshapes the family has.
		checkCoverage(source, map);
	},
);

test("every built-in family was among them", () => {
	expect([...covered].toSorted()).toEqual(FAMILIES.map(({ name }) => name).toSorted());
});
