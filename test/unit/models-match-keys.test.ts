import { describe, expect, test } from "vitest";
import { HfStreamDcpError } from "../../src/core/errors.ts";
import { fill, source } from "../../src/core/expr.ts";
import type { ModelMap, Recipe } from "../../src/core/recipe.ts";
import {
	type CheckpointKey,
	type MatchKeysOptions,
	matchKeys,
} from "../../src/models/match-keys.ts";
import { targetsToTry } from "../../src/models/spellings.ts";
import { mapFor } from "../support/plan-fixtures.ts";
import { errorOf } from "../support/map-small-model.ts";

/** Recipes by name, each copied from the source tensor of that name. */
function mapOf(target: string, names: readonly string[], more: readonly Recipe[] = []): ModelMap {
	const copied = names.map((name) => ({
		fqn: name,
		expr: source(name, "bfloat16", [8, 4]),
		keepDtype: false,
	}));
	return { ...mapFor([]), target, recipes: [...copied, ...more] };
}

function key(fqn: string, shape: readonly number[] = [8, 4]): CheckpointKey {
	return { fqn, shape, dtype: "bfloat16" };
}

function match(map: ModelMap, keys: readonly string[], more: Partial<MatchKeysOptions> = {}) {
	return matchKeys({
		where: "it",
		keys: keys.map((name) => key(name)),
		targets: [map.target],
		mapTo: () => map,
		keepsDtypes: true,
		...more,
	});
}

const NAMES = ["a.weight", "b.weight", "c.0.weight"];
const MAP = mapOf("one", NAMES);

describe("what stands before the names", () => {
	test.each([
		["", NAMES],
		["model.", NAMES.map((name) => `model.${name}`)],
		["app.state.model.", NAMES.map((name) => `app.state.model.${name}`)],
		// Averaged weights have as many votes.
		["", [...NAMES.map((name) => `ema.${name}`), ...NAMES]],
		["model.", NAMES.map((name) => `model._orig_mod.${name}`)],
		["model.", ["model.a._fsdp_wrapped_module.weight", "model.b.weight", "model.c.0.weight"]],
	])("%j of %j", (prefix, keys) => {
		const found = match(MAP, keys);
		expect(found.prefix).toBe(prefix);
		const own = keys.filter((name) => name.startsWith(prefix) && !name.startsWith("ema."));
		expect(found.map.recipes.map(({ fqn }) => fqn)).toEqual(own);
	});

	test("an optimizer is no prefix, however many tensors it has", () => {
		const states = ["exp_avg", "exp_avg_sq"].flatMap((state) =>
			NAMES.map((name) => `optimizer.state.${state}.${name}`),
		);
		const found = match(MAP, [...states, ...NAMES]);
		expect(found.prefix).toBe("");
		expect(found.leftOut.map(({ reason }) => reason)).toEqual(
			states.map(() => "state of the optimizer"),
		);
	});
});

describe("which target", () => {
	const maps = new Map([
		["new", mapOf("new", ["x.weight", "b.weight", "c.0.weight"])],
		["old", mapOf("old", NAMES)],
		["older", mapOf("older", NAMES)],
	]);
	const targets = [...maps.keys()];
	const mapTo = (target: string): ModelMap => maps.get(target)!;

	test("the first that fits as a whole", () => {
		expect(match(MAP, NAMES, { targets, mapTo }).map.target).toBe("old");
	});

	test("what is wrong is said of the one that fits best", () => {
		const run = () => match(MAP, ["a.weight", "b.weight", "head.weight"], { targets, mapTo });
		const error = errorOf(run);
		expect(error.code).toBe("NAMES_UNRESOLVED");
		expect(error.facts).toMatchObject({
			target: "old",
			unmade: ["head.weight"],
			missing: ["c.0.weight"],
		});
		expect(error.message).toContain("which fits best of 3 targets");
	});

	test("why none could be tried is said when nothing fits", () => {
		const why = new HfStreamDcpError("FAMILY_UNKNOWN", "no family");
		const failing = (target: string): ModelMap => {
			if (target === "hf") return MAP;
			throw why;
		};
		const two = { targets: ["new", "hf"], mapTo: failing };
		expect(match(MAP, NAMES, two).map.target).toBe("one");
		expect(errorOf(() => match(MAP, ["q.weight"], two))).toBe(why);
	});

	test("every spelling of a family once, then Hugging Face's", () => {
		const tried = targetsToTry(undefined, { model_type: "llama" });
		expect(tried[0]).toMatch(/^torchtitan@/);
		expect(tried.slice(-2)).toEqual(["hf", "hf@5"]);
		// Names as in October 2025, until they changed in April.
		expect(tried).toContain("torchtitan@2026-03-23");
		expect(tried.some((target) => target.endsWith("+fused"))).toBe(true);
		expect(new Set(tried).size).toBe(tried.length);
		expect(targetsToTry("llama3", {})).toEqual(tried.slice(0, -2));
		expect(targetsToTry(undefined, { model_type: "unheard" })).toEqual([
			"torchtitan",
			"hf",
			"hf@5",
		]);
	});
});

describe("what nobody asks for", () => {
	const head: Recipe = {
		fqn: "head.weight",
		expr: source("a.weight", "bfloat16", [8, 4]),
		keepDtype: false,
	};
	const bias: Recipe = { fqn: "bias", expr: fill([4], 0, "float32"), keepDtype: true };
	const tied: ModelMap = {
		...mapOf("one", NAMES, [head, bias]),
		tied: [{ name: "a.weight", reason: "tied" }],
		synthesised: ["bias"],
	};

	test("a second copy of a tied tensor, and constants, are not made", () => {
		const { map, unasked } = match(tied, NAMES);
		expect(unasked.map(({ name }) => name)).toEqual(["head.weight", "bias"]);
		expect(map).toMatchObject({ tied: [], synthesised: [] });
	});

	test("either copy will do, but not none", () => {
		const [, ...others] = NAMES;
		const { map } = match(tied, ["head.weight", ...others]);
		expect(map.recipes.map(({ fqn }) => fqn)).toEqual([...others, "head.weight"]);
		const error = errorOf(() => match(tied, others));
		expect(error.facts["missing"]).toEqual(["a.weight", "head.weight"]);
	});

	test("where both are asked for, both are tied", () => {
		const keys = [...NAMES, "head.weight"].map((name) => key(name));
		const { map } = match(tied, [], {
			keys: [...keys, { fqn: "bias", shape: [4], dtype: "float32" }],
		});
		expect(map.recipes).toHaveLength(5);
		expect(map).toMatchObject({ tied: tied.tied, synthesised: ["bias"] });
	});
});
