import { assert, nat, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { source } from "../../src/core/expr.ts";
import { nearest } from "../../src/models/nearest.ts";
import { createNumbers, evaluateNumber } from "../../src/models/numbers.ts";
import { createNameIndex, fillPattern, matchPattern } from "../../src/models/pattern.ts";
import { buildTemplate, type Template, templateSources } from "../../src/models/template.ts";

describe("patterns", () => {
	const experts = "layers.{layer}.experts.{expert}.w1";

	test("match whole names and bind their holes", () => {
		expect(matchPattern(experts, "layers.10.experts.3.w1")).toEqual(
			new Map([
				["layer", "10"],
				["expert", "3"],
			]),
		);
		for (const name of [
			"layers.01.experts.3.w1",
			"layers.1.experts.3.w1.x",
			"x.layers.1.experts.3.w1",
			"layers.1.experts.3xw1",
			"layers..experts.3.w1",
			"layers.1.experts.-3.w1",
		]) {
			expect(matchPattern(experts, name)).toBeUndefined();
		}
	});

	test("with a star carry its text over", () => {
		const bindings = matchPattern("a.{layer}.b.*", "a.7.b.c.weight")!;
		expect(fillPattern("z.*.{layer}", bindings)).toBe("z.c.weight.7");
		expect(matchPattern("vision.*", "vision.")).toEqual(new Map([["*", ""]]));
		expect(matchPattern("vision.*", "my.vision.x")).toBeUndefined();
	});

	test("a hole that occurs twice stands for one value", () => {
		expect(matchPattern("a.{n}.{n}", "a.4.4")).toBeDefined();
		expect(matchPattern("a.{n}.{n}", "a.4.5")).toBeUndefined();
	});

	test("filling what was matched gives the name back", () => {
		assert(
			property(nat(), nat(), (layer, expert) => {
				const name = `layers.${layer}.experts.${expert}.w1`;
				expect(fillPattern(experts, matchPattern(experts, name)!)).toBe(name);
			}),
		);
	});

	test("the index agrees with matching, for every subset of filled holes", () => {
		const index = createNameIndex(["layers.0.experts.2.w1", "norm.weight", "layers.1.experts.w1"]);
		for (const [pattern, found] of [
			[experts, true],
			["layers.0.experts.{expert}.w1", true],
			["layers.{layer}.experts.2.w1", true],
			["layers.0.experts.2.w1", true],
			["layers.1.experts.{expert}.w1", false],
			["layers.{layer}.experts.w1", true],
			["layers.0.experts.w1", false],
			["norm.weight", true],
			["norm.{layer}", false],
		] as const) {
			expect(index.has(pattern), pattern).toBe(found);
		}
	});
});

describe("numbers", () => {
	const values: { readonly [name: string]: number } = { heads: 6, kv_heads: 2, head_dim: 4 };
	const evaluate = (text: string | number): number =>
		evaluateNumber(text, (name) => values[name] ?? Number.NaN);

	test.each([
		[7, 7],
		["7", 7],
		["heads * head_dim", 24],
		["heads/kv_heads + 2", 5],
		["2 + heads * head_dim / kv_heads", 14],
		["heads * head_dim + 2 * kv_heads * head_dim", 40],
	])("%j is %d", (text, value) => {
		expect(evaluate(text)).toBe(value);
	});

	test.each(["", "heads *", "heads - 1", "(heads)", "1.5", "head_dim / 3", "heads heads"])(
		"%j is refused",
		(text) => {
			expect(() => evaluate(text)).toThrow(/config\.json/);
		},
	);

	test("are read in the order of their keys, null as absent", () => {
		const rules = {
			experts: { keys: ["num_experts", "num_local_experts"] },
			heads: { keys: ["heads"] },
			kv_heads: { keys: ["kv"], default: "heads" },
		};
		const numbers = createNumbers(rules, { num_experts: null, num_local_experts: 8, heads: 4 });
		expect(numbers.evaluate("experts + kv_heads")).toBe(12);
		expect(createNumbers(rules, {}).find("experts")).toBeUndefined();
		expect(() => createNumbers(rules, {}).evaluate("experts")).toThrow(
			"num_experts or num_local_experts is missing",
		);
	});
});

describe("templates", () => {
	const scope = {
		lookup: (name: string) =>
			name.startsWith("x.") ? source(name, "float32" as const, [2, 3]) : undefined,
		evaluate: (text: string | number) => evaluateNumber(text, () => 2),
		repeat: (text: string | number) => evaluateNumber(text, () => 2),
		indices: new Map([["layer", 5]]),
	};

	test("have every node of the algebra", () => {
		const template: Template = {
			kind: "cast",
			dtype: "bfloat16",
			of: {
				kind: "concat",
				axis: 0,
				parts: [
					{
						kind: "stack",
						axis: 0,
						over: "expert",
						count: "n",
						of: { kind: "permute", axes: [1, 0], of: "x.{layer}.{expert}" },
					},
					{
						kind: "slice",
						axis: 0,
						start: 0,
						end: 1,
						of: {
							kind: "reshape",
							shape: [2, 3, 1],
							of: { kind: "reshape", shape: [6], of: "x.y" },
						},
					},
				].map((part, i): Template => {
					const shape = i === 0 ? ["n * 6"] : [3];
					return { kind: "reshape", shape, of: part as Template };
				}),
			},
		};
		expect(templateSources(template, scope)).toEqual(["x.5.0", "x.5.1", "x.y"]);
		expect(buildTemplate(template, scope)).toMatchObject({
			kind: "cast",
			dtype: "bfloat16",
			shape: [15],
		});
	});

	test("a fill has no source", () => {
		const zeros: Template = { kind: "fill", shape: ["n"], value: 0, dtype: "float32" };
		expect(templateSources(zeros, scope)).toEqual([]);
		expect(buildTemplate(zeros, scope)).toMatchObject({ kind: "fill", shape: [2] });
	});

	test("a missing source is named", () => {
		expect(() => buildTemplate("y.{layer}", scope)).toThrow("no tensor y.5");
	});
});

describe("nearest", () => {
	test("finds the fewest edits", () => {
		expect(nearest("model.up_proj", ["model.down_proj", "model.upp_proj", "norm"])).toBe(
			"model.upp_proj",
		);
	});

	test("finds nothing when nothing is alike", () => {
		expect(nearest("abcdef", ["uvwxyz", "q"])).toBeUndefined();
		expect(nearest("abc", [])).toBeUndefined();
	});
});
