import { describe, expect, test } from "vitest";
import { type Expr, sourcesOf } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { errorOf } from "../support/map-small-model.ts";
import {
	type DeepseekForm,
	tinyDeepseek,
	type TinyModel,
	tinySource,
	tinyTensor,
} from "../support/quantised-models.ts";

function map(model: TinyModel, target = "torchtitan"): ModelMap {
	return mapModel({ source: tinySource(model), target });
}

function mapped(form: DeepseekForm, target = "torchtitan"): ModelMap {
	return map(tinyDeepseek({ weights: "bfloat16", ...form }), target);
}

function exprOf(model: ModelMap, key: string): Expr {
	const found = model.recipes.find(({ fqn }) => fqn === key);
	if (found === undefined) throw new Error(`no recipe for ${key}`);
	return found.expr;
}

function keysOf({ recipes }: ModelMap): readonly string[] {
	return recipes.map(({ fqn }) => fqn);
}

describe("deepseek_v3", () => {
	test("queries of one matrix are one matrix", () => {
		const keys = keysOf(mapped({ queries: "plain" })).filter((key) =>
			key.startsWith("layers.1.attention."),
		);
		expect(keys.map((key) => key.split(".")[3])).toEqual(["wq", "wkv_a", "kv_norm", "wkv_b", "wo"]);
	});

	test("a router without a bias has one of zeros, in float32", () => {
		const { synthesised, recipes } = mapped({ routerBias: false });
		expect(synthesised).toEqual(["layers.1.moe.expert_bias_E", "layers.2.moe.expert_bias_E"]);
		const bias = recipes.find(({ fqn }) => fqn === synthesised[0])!;
		expect(bias).toMatchObject({ keepDtype: true, expr: { kind: "fill", dtype: "float32" } });
	});

	test("a bias of another dtype becomes float32", () => {
		const model = tinyDeepseek({ weights: "bfloat16" });
		const name = "model.layers.1.mlp.gate.e_score_correction_bias";
		const tensors = model.tensors.map((tensor) =>
			tensor.name === name ? tinyTensor(name, "bfloat16", [4]) : tensor,
		);
		const key = "layers.1.moe.expert_bias_E";
		expect(exprOf(map({ ...model, tensors }), key)).toMatchObject({
			kind: "cast",
			dtype: "float32",
		});
		expect(exprOf(map(model), key).kind).toBe("source");
	});

	test("a model may lack shared experts, but not one of their matrices", () => {
		const model = tinyDeepseek({ weights: "bfloat16", prediction: 0 });
		const without = (pattern: RegExp): TinyModel => ({
			config: { ...model.config, n_shared_experts: null },
			tensors: model.tensors.filter(({ name }) => !pattern.test(name)),
		});
		const keys = keysOf(map(without(/shared_experts/)));
		expect(keys.filter((key) => key.includes("shared_experts"))).toEqual([]);
		const { config } = model;
		const error = errorOf(() => map({ ...without(/2\.mlp\.shared_experts\.up_proj/), config }));
		expect(error.message).toContain("layers.2.moe.shared_experts.w3.weight needs");
	});

	test.each(["deepseek_v2", "kimi_k2"])("serves model_type %s", (modelType) => {
		const model = tinyDeepseek({ weights: "bfloat16" });
		const config = { ...model.config, model_type: modelType };
		expect(map({ ...model, config })).toMatchObject({
			family: "deepseek_v3",
			facts: { layers: 3, attentionHeads: 2, keyValueHeads: 2, experts: 4 },
		});
	});
});

describe("layers for multi-token prediction", () => {
	test("are left out by rule", () => {
		const { dropped, recipes } = mapped({ prediction: 2 });
		expect(dropped.length).toBeGreaterThan(20);
		expect(dropped.every(({ name }) => /^model\.layers\.[34]\./.test(name))).toBe(true);
		expect(new Set(dropped.map(({ reason }) => reason))).toEqual(
			new Set([
				"*model.layers.{layer}.*: layers for multi-token prediction are made for --target torchtitan+mtp only",
			]),
		);
		expect(recipes.filter(({ fqn }) => fqn.startsWith("mtp_layers"))).toEqual([]);
	});

	test("are left out with their scales", () => {
		const names = map(tinyDeepseek()).dropped.map(({ name }) => name);
		expect(names).toContain("model.layers.3.mlp.experts.0.up_proj.weight_scale_inv");
	});

	test("are layers like any other with +mtp, and norms and a projection", () => {
		const model = mapped({ prediction: 2 }, "torchtitan+mtp");
		const rest = (prefix: string): readonly string[] =>
			keysOf(model).flatMap((key) => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []));
		const own = ["enorm.weight", "hnorm.weight", "eh_proj.weight", "mtp_norm.weight"];
		const layer = rest("layers.2.");
		const ffn = layer.indexOf("ffn_norm.weight") + 1;
		expect(rest("mtp_layers.1.")).toEqual(layer.toSpliced(ffn, 0, ...own));
		expect(sourcesOf(exprOf(model, "mtp_layers.1.mtp_norm.weight"))[0]?.name).toBe(
			"model.layers.4.shared_head.norm.weight",
		);
		expect(exprOf(model, "mtp_layers.0.eh_proj.weight").shape).toEqual([36, 72]);
		expect(model.target).toBe("torchtitan@2026-08-18+mtp");
		// The copies of what the model has anyway.
		expect(model.dropped.map(({ name }) => name.replace(/\d/, "#"))).toEqual([
			"model.layers.#.embed_tokens.weight",
			"model.layers.#.shared_head.head.weight",
			"model.layers.#.embed_tokens.weight",
			"model.layers.#.shared_head.head.weight",
		]);
	});

	test("that +mtp has no rule for are an error, as are more than config.json counts", () => {
		const model = tinyDeepseek({ weights: "bfloat16" });
		const odd = tinyTensor("model.layers.3.odd.weight", "bfloat16", [4]);
		const error = errorOf(() =>
			map({ ...model, tensors: [...model.tensors, odd] }, "torchtitan+mtp"),
		);
		expect(error.message).toContain(odd.name);
		const config = { ...model.config, num_nextn_predict_layers: 0 };
		expect(errorOf(() => map({ ...model, config })).message).toContain(
			"source tensors that fit no rule",
		);
	});

	test("that are not there are missing with +mtp", () => {
		const model = tinyDeepseek({ weights: "bfloat16", prediction: 0 });
		const config = { ...model.config, num_nextn_predict_layers: 1 };
		expect(map({ ...model, config }).dropped).toEqual([]);
		expect(errorOf(() => map({ ...model, config }, "torchtitan+mtp")).message).toContain(
			"mtp_layers.0.",
		);
	});
});
