import { describe, expect, test } from "vitest";
import { FAMILIES } from "../../src/models/registry.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { errorOf, map } from "../support/map-small-model.ts";
import { smallLlama3, smallLlama4, smallQwen3Moe, sourceOf } from "../support/model-sources.ts";

describe("what does not fit", () => {
	test("an unknown architecture is named, with the way out", () => {
		const error = errorOf(() =>
			map(smallLlama3(), { config: { model_type: "mamba", architectures: ["MambaForCausalLM"] } }),
		);
		expect(error.code).toBe("FAMILY_UNKNOWN");
		expect(error.message).toBe("no family for model_type mamba, architectures MambaForCausalLM");
		const odd = { model_type: 7, architectures: [null, {}, "X"] };
		expect(errorOf(() => map(smallLlama3(), { config: odd })).message).toBe(
			"no family for model_type (none), architectures X",
		);
		expect(error.hint).toContain(FAMILIES.map(({ name }) => name).join(", "));
		expect(error.hint).toContain("--target hf");
	});

	test("an unknown architecture can be treated as a known one", () => {
		const mapped = map(smallLlama3(), { config: { model_type: "mistral" }, family: "llama3" });
		expect(mapped.family).toBe("llama3");
		expect(errorOf(() => map(smallLlama3(), { family: "lama" })).code).toBe("FAMILY_UNKNOWN");
	});

	test.each([undefined, null, [], "text"])("config.json %j", (config) => {
		const source = sourceOf(config, smallLlama3().shapes);
		expect(errorOf(() => mapModel({ source, target: "torchtitan" })).code).toBe("FAMILY_UNKNOWN");
	});

	test("unmapped, missing and misfitting tensors come in one error, alike ones once", () => {
		const error = errorOf(() =>
			map(smallLlama3(), {
				without: ["model.layers.2.mlp.up_proj.weight"],
				add: {
					"model.layers.2.mlp.upp_proj.weight": [14, 20],
					"model.layers.1.mlp.down_proj.weight": [20, 15],
					...Object.fromEntries(
						[0, 1, 2, 3].map((n) => [`model.layers.${n}.self_attn.q_proj.bias`, [24]]),
					),
				},
			}),
		);
		expect(error.code).toBe("NAMES_UNRESOLVED");
		expect(error.message.split("\n")).toEqual([
			"llama3 of 4 layers → torchtitan@2026-08-18:",
			"  source tensors that fit no rule (5):",
			"    model.layers.2.mlp.upp_proj.weight (nearest known: model.layers.2.mlp.up_proj.weight)",
			"    model.layers.0.self_attn.q_proj.bias (nearest known: model.layers.0.self_attn.q_proj.weight); 3 more like it",
			"  target tensors without a source (1):",
			"    layers.2.feed_forward.w3.weight needs model.layers.2.mlp.up_proj.weight (nearest unused: model.layers.2.mlp.upp_proj.weight)",
			"  tensors that do not fit config.json or one another (1):",
			"    layers.1.feed_forward.w2.weight: [20, 15] where config.json says [20, 14]",
		]);
		expect(error.facts["unmapped"]).toHaveLength(5);
	});

	test("long lists are cut, and counted", () => {
		const add = Object.fromEntries(
			Array.from({ length: 300 }, (_, i) => [`extra_${i.toString(36)}x.weight`, [1]]),
		);
		const error = errorOf(() => map(smallLlama3(), { add }));
		expect(error.message).toContain("fit no rule (300)");
		expect(error.message).toContain("… and 292 more kinds of names");
		expect(error.message.split("\n").length).toBeLessThan(12);
	});

	test("more layers than config.json says are unmapped, fewer are missing", () => {
		const more = errorOf(() => map(smallLlama3(), { config: { num_hidden_layers: 3 } }));
		expect(more.message).toContain("fit no rule (9)");
		const fewer = errorOf(() => map(smallLlama3(), { config: { num_hidden_layers: 5 } }));
		expect(fewer.message).toContain("layers.4.attention_norm.weight needs");
		expect(fewer.message).toContain("without a source (9)");
	});

	test("a layer without any feed-forward tensor names every way to have one", () => {
		const { shapes } = smallQwen3Moe("separate");
		const without = Object.keys(shapes).filter((name) => name.startsWith("model.layers.1.mlp."));
		const error = errorOf(() =>
			map(smallQwen3Moe("separate"), { without, target: "torchtitan@2026-06" }),
		);
		expect(error.message).toContain(
			"layers.1.feed_forward.w1.weight or layers.1.moe.experts.w1_EFD needs " +
				"model.layers.1.mlp.gate_proj.weight or model.layers.1.mlp.experts.{expert}.gate_proj.weight or " +
				"model.layers.1.mlp.experts.gate_up_proj",
		);
	});

	test("a missing expert is named", () => {
		const name = "model.layers.2.mlp.experts.1.up_proj.weight";
		const error = errorOf(() => map(smallQwen3Moe("separate"), { without: [name] }));
		expect(error.message).toContain(`inner_experts.w3_EFD needs ${name}`);
	});

	test("an expert of another shape is a misfit", () => {
		const name = "model.layers.2.mlp.experts.1.up_proj.weight";
		const error = errorOf(() => map(smallQwen3Moe("separate"), { add: { [name]: [11, 20] } }));
		expect(error.message).toContain(
			"w3_EFD: config.json wants [3, 10, 20]: stack of [10, 20] and [11, 20], from " +
				"model.layers.2.mlp.experts.0.up_proj.weight … model.layers.2.mlp.experts.2.up_proj.weight",
		);
	});

	test("rows that no head has are a misfit", () => {
		const name = "model.layers.0.self_attn.q_proj.weight";
		const error = errorOf(() => map(smallLlama3(), { add: { [name]: [28, 20] } }));
		expect(error.message).toContain(
			`wq.weight: config.json wants [24, 20]: reshape of [28, 20] to [6, 2, 2, 20], from ${name}`,
		);
	});

	test("both dense and routed tensors in one layer: the fewer are unmapped", () => {
		const name = "model.layers.1.mlp.gate_proj.weight";
		const error = errorOf(() => map(smallQwen3Moe("separate"), { add: { [name]: [14, 20] } }));
		expect(error.message).toContain(`${name} (nearest known`);
	});

	test.each([
		[smallLlama3(), { num_hidden_layers: 10_000_000 }, "layers is 10000000, but"],
		[smallQwen3Moe("separate"), { num_local_experts: 1e15 }, "experts is 1000000000000000, but"],
	])("an absurd count is refused, not counted out", (model, config, message) => {
		const error = errorOf(() => map(model, { config }));
		expect(error.code).toBe("CONFIG_INVALID");
		expect(error.message).toContain(message);
	});

	test("a fused tensor of parts that differ in dtype names them", () => {
		const { config, shapes } = smallLlama3();
		const source = sourceOf(config, shapes);
		const name = "model.layers.2.self_attn.k_proj.weight";
		const tensors = source.tensors.map((tensor) =>
			tensor.name === name ? { ...tensor, dtype: "bfloat16" as const } : tensor,
		);
		const target = "torchtitan@2026-06+fused";
		const error = errorOf(() => mapModel({ source: { ...source, tensors }, target }));
		expect(error.code).toBe("RECIPE_INVALID");
		expect(error.message).toContain("layers.2.attention.qkv_linear.wk.weight is bfloat16");
	});

	test.each([
		[{ num_attention_heads: "6" }, 'num_attention_heads is "6", not a positive integer'],
		[{ num_attention_heads: 0 }, "num_attention_heads is 0"],
		[{ num_hidden_layers: 1.5 }, "num_hidden_layers is 1.5"],
		[{ hidden_size: undefined }, "hidden_size is missing"],
		[{ head_dim: null }, "hidden / heads: 20 is not divisible by 6"],
		[{ head_dim: 3 }, "head_dim / 2: 3 is not divisible by 2"],
	])("config.json with %j", (config, message) => {
		const error = errorOf(() => map(smallLlama3(), { config }));
		expect(error.code).toBe("CONFIG_INVALID");
		expect(error.message).toContain(message);
	});

	test.each([
		{ quantization_config: { quant_method: "fp8" } },
		{ quantization_config: {} },
		{ compression_config: { quant_method: "compressed-tensors" } },
		{ text_config: { quantization_config: { quant_method: "awq" } } },
	])("quantised: %j", (config) => {
		const error = errorOf(() => map(smallLlama4("conditional"), { config }));
		expect(error.code).toBe("DTYPE_UNSUPPORTED");
		expect(error.message).toContain("quantised");
	});

	test("weights of a dtype that needs scales", () => {
		const { config, shapes } = smallLlama3();
		const source = sourceOf(config, shapes, "float8_e4m3fn");
		const error = errorOf(() => mapModel({ source, target: "torchtitan" }));
		expect(error.code).toBe("DTYPE_UNSUPPORTED");
		expect(error.message).toContain("model.embed_tokens.weight is float8_e4m3fn");
	});
});
