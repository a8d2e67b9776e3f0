import { describe, expect, test } from "vitest";
import { source } from "../../src/core/expr.ts";
import { createDrops } from "../../src/models/drops.ts";
import {
	each,
	type Family,
	type FamilyItem,
	type Feature,
	oneOf,
	tensor,
	under,
	when,
} from "../../src/models/family.ts";
import { type FamilyResult, instantiateFamily } from "../../src/models/instantiate.ts";
import { createNumbers } from "../../src/models/numbers.ts";

const FAMILY: Omit<Family, "items"> = {
	name: "test",
	summary: "",
	modelTypes: [],
	architectures: [],
	prefixes: [""],
	numbers: { size: { keys: ["size"] }, layers: { keys: ["layers"], minimum: 0 } },
	drops: [],
};

interface Given {
	readonly items: readonly FamilyItem[];
	readonly names: readonly string[];
	readonly layers?: number;
	readonly features?: readonly Feature[];
}

function run({ items, names, layers = 2, features = [] }: Given): FamilyResult {
	return instantiateFamily(
		{ ...FAMILY, items },
		{
			tensors: new Map(names.map((name) => [name, source(name, "float32", [3])])),
			numbers: createNumbers(FAMILY.numbers, { size: 3, layers }),
			features: new Set(features),
			tiedEmbeddings: false,
		},
	);
}

function madeOf(result: FamilyResult): Record<string, string> {
	return Object.fromEntries(
		result.made.map(({ target, expr }) => [target, expr.kind === "source" ? expr.name : expr.kind]),
	);
}

const PLAIN = tensor("a", ["size"], "x");
const ZERO = tensor("a", ["size"], { kind: "fill", shape: ["size"], value: 0, dtype: "float32" });

describe("each", () => {
	const items = [
		each("k", "layers", [tensor("head.{k}", ["size"], "layers.{layer}.w")], {
			layer: "layers + k",
		}),
	];

	test("computes further holes", () => {
		const names = ["layers.2.w", "layers.3.w"];
		expect(madeOf(run({ items, names }))).toEqual({
			"head.0": "layers.2.w",
			"head.1": "layers.3.w",
		});
	});

	test("of none makes nothing", () => {
		expect(run({ items, names: [], layers: 0 }).made).toEqual([]);
	});

	test("numbers may use its holes", () => {
		const numbered = [each("k", "layers", [tensor("{k}", ["k + 2"], "{k}")])];
		const result = run({ items: numbered, names: ["0", "1"] });
		expect(madeOf(result)).toEqual({ "1": "1" });
		expect(result.misfits).toEqual([{ target: "0", reason: "[3] where config.json says [2]" }]);
	});
});

describe("oneOf", () => {
	test("takes a choice without sources only when nothing of the others is there", () => {
		const items = [oneOf([PLAIN], [ZERO])];
		expect(madeOf(run({ items, names: ["x"] }))).toEqual({ a: "x" });
		expect(madeOf(run({ items, names: [] }))).toEqual({ a: "fill" });
	});

	test("with an empty choice is a part that may be absent as a whole, but not in part", () => {
		const items = [oneOf([PLAIN, tensor("b", ["size"], "y")], [])];
		expect(run({ items, names: [] })).toMatchObject({ made: [], missing: [] });
		expect(run({ items, names: ["x"] }).missing).toMatchObject([{ targets: ["b"] }]);
	});
});

describe("under", () => {
	const items = [
		under(["model.text.", "model."], tensor("a", ["size"], "x"), tensor("b", ["size"], "y")),
		tensor("head", ["size"], "head"),
	];

	test.each(["model.text.", "model."])("%s is found by most of the names", (prefix) => {
		const names = [`${prefix}x`, `${prefix}y`, "head"];
		expect(madeOf(run({ items, names }))).toEqual({ a: names[0], b: names[1], head: "head" });
	});

	test("nothing there is reported under the first prefix", () => {
		const { missing } = run({ items, names: ["head"] });
		expect(missing.map(({ sources }) => sources)).toEqual([["model.text.x"], ["model.text.y"]]);
	});
});

test("when makes its items only for a target with the feature", () => {
	const items = [when("mtp", PLAIN)];
	expect(run({ items, names: ["x"] }).made).toEqual([]);
	expect(madeOf(run({ items, names: ["x"], features: ["mtp"] }))).toEqual({ a: "x" });
});

describe("numbers", () => {
	const config = { size: 1, vision: { size: 7, grid: [4, 5] }, text: { size: 2 } };
	const read = (...keys: string[]): number | undefined =>
		createNumbers({ n: { keys, minimum: 0 } }, config.text, config).find("n");

	test("with dots are paths from the top, into objects and lists", () => {
		expect(read("size")).toBe(2);
		expect(read("vision.size")).toBe(7);
		expect(read("vision.grid.1")).toBe(5);
		expect(read("vision.grid.2")).toBeUndefined();
		expect(read("vision.toString", "absent.size", "vision.size")).toBe(7);
	});

	test("may be zero only where the family says so", () => {
		expect(createNumbers({ n: { keys: ["n"], minimum: 0 } }, { n: 0 }).find("n")).toBe(0);
		expect(() => createNumbers({ n: { keys: ["n"] } }, { n: 0 }).find("n")).toThrow(/positive/);
		expect(() => createNumbers({ n: { keys: ["n"], minimum: 0 } }, { n: -1 }).find("n")).toThrow(
			/at least 0/,
		);
	});
});

test("a drop may be limited to a range of its holes", () => {
	const numbers = createNumbers(FAMILY.numbers, { layers: 2 });
	const rule = {
		pattern: "*layers.{layer}.*",
		where: { layer: ["layers", "layers + 1"] },
		reason: "",
	} as const;
	const dropOf = createDrops([rule], numbers, new Set());
	const dropped = ["layers.1.w", "layers.2.w", "text.layers.2.w", "layers.3.w"].filter(dropOf);
	expect(dropped).toEqual(["layers.2.w", "text.layers.2.w"]);
});
