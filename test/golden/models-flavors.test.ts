import { describe, expect, test } from "vitest";
import { mapModel } from "../../src/models/map-model.ts";
import {
	expectedKeys,
	type Flavor as FlavorOf,
	layersWith,
	readFlavors,
	sizeAt,
} from "../support/flavors.ts";
import { type Shapes, sourceOf } from "../support/model-sources.ts";

type Flavor = FlavorOf<"llama3" | "llama4" | "qwen3">;

const FLAVORS = readFlavors<Flavor["family"]>("flavors.json");

/** The fixture of June does not say; those of main, and the models' own `config.json` for llama4, do. */
const HEADS: { readonly [flavor: string]: number } = { "17bx16e": 40, "17bx128e": 40 };

function headsOf(flavor: Flavor): number {
	const alike = FLAVORS.find(
		(other) => other.family === flavor.family && other.flavor === flavor.flavor && other.attention,
	);
	return alike?.attention?.n_heads ?? HEADS[flavor.flavor] ?? 16;
}

/** What Hugging Face has of such a model: `config.json`, names and shapes. */
function exportOf(flavor: Flavor): { readonly config: object; readonly shapes: Shapes } {
	const { dim, vocab_size } = flavor.config;
	const heads = headsOf(flavor);
	const headDim = sizeAt(flavor, /\.wo\.weight$/, 1) / heads;
	const keyRows =
		sizeAt(flavor, /\.wk\.weight$/, 0) ||
		(sizeAt(flavor, /\.wqkv\.weight$/, 0) - heads * headDim) / 2;
	const experts = flavor.num_experts ?? 0;
	const inner = sizeAt(flavor, /feed_forward\.w1\.weight$/, 0);
	const expertInner = sizeAt(flavor, /\.w1_EFD$/, 1);
	const isTied = flavor.config.enable_weight_tying ?? false;
	const isLlama4 = flavor.family === "llama4";
	const text = {
		hidden_size: dim,
		vocab_size,
		num_hidden_layers: flavor.n_layers,
		num_attention_heads: heads,
		num_key_value_heads: keyRows / headDim,
		head_dim: headDim,
		tie_word_embeddings: isTied,
		intermediate_size: isLlama4 ? expertInner : inner || 1,
		intermediate_size_mlp: inner || 1,
		num_local_experts: experts || undefined,
		moe_intermediate_size: expertInner || undefined,
	};
	const shapes: { [name: string]: readonly number[] } = {};
	const top = isLlama4 ? "language_model." : "";
	shapes[`${top}model.embed_tokens.weight`] = [vocab_size, dim];
	shapes[`${top}model.norm.weight`] = [dim];
	if (!isTied) shapes[`${top}lm_head.weight`] = [vocab_size, dim];
	const addMlp = (at: string, size: number): void => {
		for (const name of ["gate", "up"]) shapes[`${at}${name}_proj.weight`] = [size, dim];
		shapes[`${at}down_proj.weight`] = [dim, size];
	};
	const moeLayers = layersWith(flavor, /\.w1_EFD$/);
	for (let layer = 0; layer < flavor.n_layers; layer++) {
		const at = `${top}model.layers.${layer}.`;
		shapes[`${at}input_layernorm.weight`] = [dim];
		shapes[`${at}post_attention_layernorm.weight`] = [dim];
		shapes[`${at}self_attn.q_proj.weight`] = [heads * headDim, dim];
		shapes[`${at}self_attn.k_proj.weight`] = [keyRows, dim];
		shapes[`${at}self_attn.v_proj.weight`] = [keyRows, dim];
		shapes[`${at}self_attn.o_proj.weight`] = [dim, heads * headDim];
		if (flavor.family === "qwen3") {
			shapes[`${at}self_attn.q_norm.weight`] = [headDim];
			shapes[`${at}self_attn.k_norm.weight`] = [headDim];
		}
		if (!moeLayers.has(layer)) {
			addMlp(`${at}${isLlama4 ? "feed_forward" : "mlp"}.`, inner);
		} else if (isLlama4) {
			shapes[`${at}feed_forward.router.weight`] = [experts, dim];
			shapes[`${at}feed_forward.experts.gate_up_proj`] = [experts, dim, 2 * expertInner];
			shapes[`${at}feed_forward.experts.down_proj`] = [experts, expertInner, dim];
			addMlp(`${at}feed_forward.shared_expert.`, expertInner);
		} else {
			shapes[`${at}mlp.gate.weight`] = [experts, dim];
			for (let e = 0; e < experts; e++) addMlp(`${at}mlp.experts.${e}.`, expertInner);
		}
	}
	const modelType = { llama3: "llama", llama4: "llama4", qwen3: experts ? "qwen3_moe" : "qwen3" };
	const config = isLlama4 ? { text_config: text } : text;
	return { config: { model_type: modelType[flavor.family], ...config }, shapes };
}

function targetOf(flavor: Flavor): string {
	if (flavor.flavor.endsWith("_non_fused_qkv")) return "torchtitan+unfused";
	const target = flavor.tree === "main" ? "torchtitan" : "torchtitan@2026-06";
	return flavor.flavor.endsWith("_fused_qkv") ? `${target}+fused` : target;
}

test("the fixture has every flavor of both trees", () => {
	expect(FLAVORS).toHaveLength(38);
});

describe.each(FLAVORS)("$tree $family $flavor", (flavor) => {
	const keys = expectedKeys(flavor);

	test("has the keys and shapes of the trainer", () => {
		const { config, shapes } = exportOf(flavor);
		const map = mapModel({
			source: sourceOf(config, shapes, "bfloat16"),
			target: targetOf(flavor),
		});
		expect(Object.keys(keys)).toHaveLength(flavor.n_keys);
		expect(Object.fromEntries(map.recipes.map(({ fqn, expr }) => [fqn, expr.shape]))).toEqual(keys);
		expect(map.facts).toMatchObject({
			layers: flavor.n_layers,
			attentionHeads: headsOf(flavor),
			experts: flavor.num_experts ?? 0,
			tiedEmbeddings: flavor.config.enable_weight_tying ?? false,
		});
	});
});
