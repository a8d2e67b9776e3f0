import { describe, expect, test } from "vitest";
import { type HfStreamDcpError, isHfStreamDcpError } from "../../src/core/errors.ts";
import { sourcesOf } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { FAMILIES } from "../../src/models/registry.ts";
import { listFamilies, mapModel } from "../../src/models/map-model.ts";
import { RELEASES } from "../../src/models/releases.ts";
import {
	type Shapes,
	type SmallModel,
	smallLlama3,
	smallLlama4,
	smallQwen3,
	smallQwen3Moe,
	sourceOf,
	traceableBytes,
} from "../support/model-sources.ts";
import { evaluateExpr } from "../support/naive-expr.ts";

interface Change {
	readonly config?: { readonly [key: string]: unknown };
	readonly add?: Shapes;
	readonly without?: readonly string[];
	readonly target?: string;
	readonly family?: string;
}

function map(model: SmallModel, change: Change = {}): ModelMap {
	const shapes = { ...model.shapes, ...change.add };
	for (const name of change.without ?? []) delete shapes[name];
	return mapModel({
		source: sourceOf({ ...model.config, ...change.config }, shapes),
		family: change.family,
		target: change.target ?? "torchtitan",
	});
}

function errorOf(run: () => unknown): HfStreamDcpError {
	try {
		run();
	} catch (error) {
		if (isHfStreamDcpError(error)) return error;
		throw error;
	}
	throw new Error("nothing was thrown");
}

function keys(model: ModelMap): readonly string[] {
	return model.recipes.map(({ fqn }) => fqn);
}

function keysAndShapes(model: SmallModel): unknown {
	return map(model).recipes.map(({ fqn, expr }) => [fqn, expr.shape]);
}

const MODELS: readonly (readonly [string, SmallModel])[] = [
	["llama3", smallLlama3()],
	["llama4 conditional", smallLlama4("conditional")],
	["llama4 text", smallLlama4("text")],
	["qwen3", smallQwen3()],
	["qwen3 moe", smallQwen3Moe("separate")],
	["qwen3 moe, fused experts", smallQwen3Moe("fused")],
];

describe("every family", () => {
	test.each(MODELS)("%s: moves each element of each used tensor exactly once", (_, model) => {
		const mapped = map(model);
		const firstId = new Map<string, number>();
		let count = 0;
		for (const [name, shape] of Object.entries(model.shapes)) {
			firstId.set(name, count);
			if (!mapped.dropped.some((note) => note.name === name)) {
				count += shape.reduce((a, b) => a * b, 1);
			}
		}
		const numbered = (name: string): Uint8Array => {
			const length = model.shapes[name]!.reduce((a, b) => a * b, 1);
			const ids = Uint32Array.from({ length }, (_unused, i) => firstId.get(name)! + i);
			return new Uint8Array(ids.buffer);
		};
		const seen = new Uint32Array(count);
		for (const { expr } of mapped.recipes) {
			if (sourcesOf(expr).length === 0) continue;
			for (const id of new Uint32Array(evaluateExpr(expr, numbered).slice().buffer)) seen[id]!++;
		}
		expect(seen.every((times) => times === 1)).toBe(true);
	});

	test.each(MODELS)("%s: the order of the source's tensors does not matter", (_, model) => {
		const shapes = Object.fromEntries(Object.entries(model.shapes).toReversed());
		const reversed = mapModel({ source: sourceOf(model.config, shapes), target: "torchtitan" });
		expect(reversed.recipes).toEqual(map(model).recipes);
	});

	test.each(MODELS)("%s: model_type missing, the architecture decides", (_, model) => {
		const { model_type: _type, ...config } = model.config;
		const mapped = mapModel({ source: sourceOf(config, model.shapes), target: "torchtitan" });
		expect(mapped).toEqual(map(model));
	});

	test("is JSON, and so are the releases", () => {
		expect(JSON.parse(JSON.stringify(FAMILIES))).toEqual(FAMILIES);
		expect(JSON.parse(JSON.stringify(RELEASES))).toEqual(RELEASES);
	});

	test("is listed with one line", () => {
		const names = listFamilies().map((line) => line.split(" ")[0]);
		expect(names).toEqual(["llama3", "llama4", "qwen3", "hf"]);
	});
});

describe("llama3", () => {
	test("reorders query and key rows for interleaved rotary embedding, per head", () => {
		const model = smallLlama3();
		const { recipes } = map(model);
		for (const [weight, projection, heads] of [
			["wq", "q_proj", 6],
			["wk", "k_proj", 2],
		] as const) {
			const name = `model.layers.3.self_attn.${projection}.weight`;
			const key = `layers.3.attention.qkv_linear.${weight}.weight`;
			const { expr } = recipes.find(({ fqn }) => fqn === key)!;
			const got = evaluateExpr(expr, () => traceableBytes(name, model.shapes[name]!));
			const from = traceableBytes(name, model.shapes[name]!);
			const rowBytes = 20 * 4;
			const headDim = 4;
			for (let h = 0; h < heads; h++) {
				for (let i = 0; i < headDim / 2; i++) {
					for (const j of [0, 1]) {
						const to = (h * headDim + 2 * i + j) * rowBytes;
						const at = (h * headDim + (j * headDim) / 2 + i) * rowBytes;
						expect(got.slice(to, to + rowBytes)).toEqual(from.slice(at, at + rowBytes));
					}
				}
			}
		}
	});

	test("takes heads from hidden size and head count when config.json is old", () => {
		const shapes = {
			...smallLlama3().shapes,
			...Object.fromEntries(
				[0, 1, 2, 3].flatMap((n) =>
					["q", "k", "v", "o"].map((p) => [
						`model.layers.${n}.self_attn.${p}_proj.weight`,
						[20, 20],
					]),
				),
			),
		};
		const { head_dim: _, num_key_value_heads: __, ...config } = smallLlama3().config;
		const old = { ...config, num_attention_heads: 5, head_dim: null };
		const mapped = mapModel({ source: sourceOf(old, shapes), target: "torchtitan" });
		expect(mapped.facts).toMatchObject({ attentionHeads: 5, keyValueHeads: 5 });
	});

	test("drops stored rotary frequencies by name", () => {
		const name = "model.layers.0.self_attn.rotary_emb.inv_freq";
		const { dropped } = map(smallLlama3(), { add: { [name]: [2] } });
		expect(dropped).toEqual([
			{ name, reason: expect.stringContaining("*.rotary_emb.inv_freq: ") as string },
		]);
	});
});

describe("tied embeddings", () => {
	const tie = { tie_word_embeddings: true };

	test("are stored under both keys", () => {
		const mapped = map(smallLlama3(), { config: tie, without: ["lm_head.weight"] });
		const embed = mapped.recipes.find(({ fqn }) => fqn === "tok_embeddings.weight")!;
		const head = mapped.recipes.find(({ fqn }) => fqn === "lm_head.weight")!;
		expect(head.expr).toEqual(embed.expr);
		expect(mapped.tied).toEqual([
			{
				name: "model.embed_tokens.weight",
				reason: "tie_word_embeddings: stored again as lm_head.weight",
			},
		]);
		expect(mapped.facts.tiedEmbeddings).toBe(true);
	});

	test("of llama4 are found in text_config", () => {
		const model = smallLlama4("conditional");
		const text = model.config["text_config"] as object;
		const mapped = map(model, {
			config: { tie_word_embeddings: false, text_config: { ...text, ...tie } },
			without: ["language_model.lm_head.weight"],
		});
		expect(mapped.tied.map(({ name }) => name)).toEqual([
			"language_model.model.embed_tokens.weight",
		]);
	});

	test("take the head that is there all the same", () => {
		const mapped = map(smallQwen3(), { config: tie });
		const head = mapped.recipes.find(({ fqn }) => fqn === "lm_head.weight")!;
		expect(sourcesOf(head.expr).map(({ name }) => name)).toEqual(["lm_head.weight"]);
		expect(mapped.tied).toEqual([]);
		expect(mapped.facts.tiedEmbeddings).toBe(true);
	});

	test("are not assumed", () => {
		const error = errorOf(() => map(smallQwen3(), { without: ["lm_head.weight"] }));
		expect(error.code).toBe("NAMES_UNRESOLVED");
		expect(error.message).toContain(
			"lm_head.weight needs lm_head.weight; config.json does not tie it to the embedding",
		);
	});
});

describe("llama4", () => {
	const conditional = map(smallLlama4("conditional"));

	test("has the same keys with and without the vision model", () => {
		const text = map(smallLlama4("text"));
		expect(keys(text)).toEqual(keys(conditional));
		expect(text.dropped).toEqual([]);
	});

	test("drops vision tensors by a named rule, in file order", () => {
		expect(conditional.dropped).toEqual([
			{
				name: "multi_modal_projector.linear_1.weight",
				reason:
					"multi_modal_projector.*: the projector of the vision tensors is not part of the text model",
			},
			{
				name: "vision_model.class_embedding",
				reason: "vision_model.*: vision tensors are not part of the text model",
			},
			{
				name: "vision_model.model.layers.0.self_attn.q_proj.weight",
				reason: "vision_model.*: vision tensors are not part of the text model",
			},
		]);
	});

	test("makes dense and routed layers as the tensors say", () => {
		const ofLayer = (layer: number): readonly string[] =>
			keys(conditional).filter((key) => key.startsWith(`layers.${layer}.`));
		expect(ofLayer(0).some((key) => key.includes(".moe."))).toBe(false);
		expect(ofLayer(0)).toContain("layers.0.feed_forward.w2.weight");
		expect(ofLayer(1).some((key) => key.includes(".feed_forward."))).toBe(false);
		expect(conditional.synthesised).toEqual([
			"layers.1.moe.expert_bias_E",
			"layers.3.moe.expert_bias_E",
		]);
	});

	test("splits and transposes gate_up", () => {
		const model = smallLlama4("text");
		const name = "model.layers.1.feed_forward.experts.gate_up_proj";
		const read = (): Uint8Array => traceableBytes(name, model.shapes[name]!);
		const from = new Uint32Array(read().buffer);
		const [experts, hidden, inner] = [3, 20, 14];
		for (const [weight, offset] of [
			["w1", 0],
			["w3", inner],
		] as const) {
			const recipe = map(model).recipes.find(
				({ fqn }) => fqn === `layers.1.moe.experts.${weight}_EFD`,
			)!;
			const got = new Uint32Array(evaluateExpr(recipe.expr, read).buffer);
			for (let e = 0; e < experts; e++) {
				for (let f = 0; f < inner; f++) {
					for (let d = 0; d < hidden; d++) {
						const to = (e * inner + f) * hidden + d;
						const at = (e * hidden + d) * 2 * inner + offset + f;
						expect(got[to]).toBe(from[at]);
					}
				}
			}
		}
	});
});

describe("qwen3 with experts", () => {
	test("has the same keys and shapes for both ways to save them", () => {
		expect(keysAndShapes(smallQwen3Moe("fused"))).toEqual(keysAndShapes(smallQwen3Moe("separate")));
	});

	test("reads num_experts as the Hub's files say it", () => {
		const { num_local_experts: experts, ...config } = smallQwen3Moe("separate").config;
		const source = sourceOf({ ...config, num_experts: experts }, smallQwen3Moe("separate").shapes);
		expect(mapModel({ source, target: "torchtitan" }).facts.experts).toBe(3);
	});

	test("takes gate rows before up rows of fused experts", () => {
		const model = smallQwen3Moe("fused");
		const prefix = "layers.2.moe.routed_experts.inner_experts";
		const slices = ["w1_EFD", "w3_EFD"].map(
			(name) => map(model).recipes.find(({ fqn }) => fqn === `${prefix}.${name}`)!.expr,
		);
		expect(slices).toMatchObject([
			{ kind: "slice", axis: 1, start: 0, end: 10 },
			{ kind: "slice", axis: 1, start: 10, end: 20 },
		]);
	});
});

describe("hf", () => {
	test("keeps every tensor of any architecture, also without config.json", () => {
		const { shapes } = smallLlama4("conditional");
		const source = sourceOf(undefined, shapes, "float8_e4m3fn");
		const mapped = mapModel({ source, target: "hf" });
		expect(mapped.recipes.map(({ fqn, expr }) => [fqn, expr])).toEqual(
			source.tensors.map(({ name, dtype, shape }) => [
				name,
				{ kind: "source", name, dtype, shape },
			]),
		);
		expect(mapped).toMatchObject({ family: "hf", target: "hf", tied: [], dropped: [] });
		expect(mapped.rules.kind).toBe("fsdp");
		expect(mapped.facts).toEqual({
			layers: 0,
			attentionHeads: 0,
			keyValueHeads: 0,
			experts: 0,
			tiedEmbeddings: false,
		});
	});

	test("reads what config.json says, and keeps quantised bytes", () => {
		const model = smallLlama4("conditional");
		const config = { ...model.config, quantization_config: { quant_method: "fp8" } };
		const mapped = mapModel({ source: sourceOf(config, model.shapes), target: "hf" });
		expect(mapped.facts).toMatchObject({
			layers: 4,
			attentionHeads: 6,
			keyValueHeads: 2,
			experts: 3,
		});
	});

	test.each([
		["model.embed_tokens.weight", "lm_head.weight"],
		["model.language_model.embed_tokens.weight", "lm_head.weight"],
		["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"],
		["transformer.wte.weight", "lm_head.weight"],
	])("stores the head that %s is tied to, and says so", (name, head) => {
		const shapes = { [name]: [6, 4], "norm.weight": [4] };
		const mapTied = (more: Shapes): ModelMap =>
			mapModel({
				source: sourceOf({ tie_word_embeddings: true }, { ...shapes, ...more }),
				target: "hf",
			});
		const tied = mapTied({});
		expect(tied.recipes.map(({ fqn }) => fqn)).toEqual([name, "norm.weight", head]);
		expect(tied.recipes[2]?.expr).toEqual(tied.recipes[0]?.expr);
		expect(tied.tied).toEqual([{ name, reason: `tie_word_embeddings: stored again as ${head}` }]);
		// What the source has is never made up.
		expect(mapTied({ [head]: [6, 4] }).tied).toEqual([]);
		const untied = sourceOf({ tie_word_embeddings: false }, shapes);
		expect(mapModel({ source: untied, target: "hf" }).recipes).toHaveLength(2);
	});

	test.each([
		[["GemmaForCausalLM"], 2],
		[["GPT2LMHeadModel"], 2],
		[["Gemma3ForConditionalGeneration"], 2],
		[["GemmaModel"], 1],
		[["GemmaForSequenceClassification"], 1],
		[[null, {}], 1],
		["GemmaForCausalLM", 1],
		[undefined, 1],
	])(
		"config.json of %j does not say whether the head is tied: %i tensors",
		(architectures, count) => {
			const name = "model.embed_tokens.weight";
			const mapped = mapModel({
				source: sourceOf({ architectures }, { [name]: [6, 4] }),
				target: "hf",
			});
			expect(mapped.recipes).toHaveLength(count);
			expect(mapped.tied).toHaveLength(count - 1);
			expect(mapped.facts.tiedEmbeddings).toBe(count === 2);
		},
	);

	test("is a family only of its own target", () => {
		expect(errorOf(() => map(smallLlama3(), { family: "hf" })).code).toBe("OPTIONS_INVALID");
		expect(errorOf(() => map(smallLlama3(), { family: "llama3", target: "hf" })).code).toBe(
			"OPTIONS_INVALID",
		);
	});
});

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
		expect(error.hint).toContain("llama3, llama4, qwen3");
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
		{ quantization_config: { quant_method: "mxfp4" } },
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
