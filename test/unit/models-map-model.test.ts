import { describe, expect, test } from "vitest";
import { sourcesOf } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { FAMILIES } from "../../src/models/registry.ts";
import { listFamilies, mapModel } from "../../src/models/map-model.ts";
import { RELEASES } from "../../src/models/releases.ts";
import {
	type SmallModel,
	smallLlama3,
	smallLlama4,
	smallQwen3,
	smallQwen3Moe,
	sourceOf,
	traceableBytes,
} from "../support/model-sources.ts";
import { errorOf, map } from "../support/map-small-model.ts";
import { evaluateExpr } from "../support/naive-expr.ts";

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
		expect(names).toEqual([...FAMILIES.map(({ name }) => name), "hf"]);
		expect(names).toEqual([...new Set(names)]);
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
