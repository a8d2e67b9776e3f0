import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createLayout } from "../../src/layout/create-layout.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { goldenLayoutNames, layoutOf, readGoldenLayout } from "../support/golden-layouts.ts";
import { type Shapes, sourceOf } from "../support/model-sources.ts";
import {
	type Config,
	type ExpertForm,
	fluxExport,
	museExport,
	qwen35Export,
	qwen3VlExport,
} from "../support/multimodal-exports.ts";

interface Flavor {
	readonly tree: "main" | "june";
	readonly family: "qwen3_5" | "qwen3_vl" | "muse_glimmer" | "flux";
	readonly flavor: string;
	readonly n_keys: number;
	readonly n_layers: number | null;
	readonly config: { readonly enable_weight_tying?: boolean };
	readonly num_experts: number | null;
	readonly keys: readonly {
		readonly key: string;
		readonly shape: readonly number[];
		readonly layers: string | null;
	}[];
}

const FLAVORS = JSON.parse(
	readFileSync(
		join(import.meta.dirname, "../fixtures/torchtitan-adapters/flavors-multimodal.json"),
		"utf8",
	),
) as readonly Flavor[];

/** `0-2,5` → 0, 1, 2, 5. */
function layersOf(text: string): number[] {
	return text.split(",").flatMap((part) => {
		const [first, last = first] = part.split("-").map(Number);
		return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i);
	});
}

function expectedKeys(flavor: Flavor): Shapes {
	return Object.fromEntries(
		flavor.keys.flatMap(({ key, shape, layers }) =>
			layers === null
				? [[key, shape] as const]
				: layersOf(layers).map((layer) => [key.replace("{}", String(layer)), shape] as const),
		),
	);
}

/** What the flavor says of itself: sizes and numbers of layers by key. */
class Sizes {
	readonly #keys: Flavor["keys"];

	constructor({ keys }: Flavor) {
		this.#keys = keys;
	}

	/** 0 when the flavor has no such key. */
	at(end: string, axis: number): number {
		return this.#keys.find(({ key }) => key.endsWith(end))?.shape[axis] ?? 0;
	}

	/** Layers that have the key. */
	count(end: string): number {
		const found = this.#keys.find(({ key }) => key.endsWith(end));
		return found?.layers == null ? 0 : layersOf(found.layers).length;
	}
}

function textConfig(flavor: Flavor, sizes: Sizes, headDim: number, queryParts: number): Config {
	return {
		vocab_size: sizes.at("lm_head.weight", 0),
		hidden_size: sizes.at("lm_head.weight", 1),
		num_hidden_layers: flavor.n_layers!,
		num_attention_heads: sizes.at(".wq.weight", 0) / headDim / queryParts,
		num_key_value_heads: sizes.at(".wk.weight", 0) / headDim,
		head_dim: headDim,
		intermediate_size: sizes.at("feed_forward.w1.weight", 0) || 1,
		num_experts: flavor.num_experts ?? 0,
		moe_intermediate_size: sizes.at(".w1_EFD", 1) || 1,
	};
}

function qwenVisionConfig(sizes: Sizes, patchEmbedding: string): Config {
	const hidden = sizes.at("vision_encoder.pos_embed", 1);
	return {
		depth: sizes.count("vision_encoder.layers.{}.norm1.weight"),
		hidden_size: hidden,
		intermediate_size: sizes.at("mlp.linear_fc1.weight", 0),
		num_heads: 16,
		in_channels: 3,
		num_position_embeddings: sizes.at("vision_encoder.pos_embed", 0),
		out_hidden_size: sizes.at("merger.linear_fc2.weight", 0),
		patch_size: Math.sqrt(sizes.at(`${patchEmbedding}.weight`, 1) / 6),
		spatial_merge_size: Math.sqrt(sizes.at("merger.linear_fc1.weight", 0) / hidden),
		temporal_patch_size: 2,
	};
}

interface Export {
	readonly config: { readonly [key: string]: unknown };
	readonly shapes: Shapes;
	/** Source tensors that the trainer does not have. */
	readonly dropped?: number;
}

function qwen35(flavor: Flavor, sizes: Sizes, form: ExpertForm): Export {
	const vision = qwenVisionConfig(sizes, "vision_encoder.patch_embed");
	const valueHeads = sizes.at(".A_log", 0);
	const valueSize = sizes.at("attn.norm.weight", 0);
	const text = {
		...textConfig(flavor, sizes, sizes.at("attn.q_norm.weight", 0), 2),
		linear_conv_kernel_dim: sizes.at(".conv_q.weight", 2),
		linear_num_value_heads: valueHeads,
		linear_value_head_dim: valueSize,
		linear_num_key_heads: sizes.at(".in_proj_q.weight", 0) / valueSize,
		linear_key_head_dim: valueSize,
		shared_expert_intermediate_size: sizes.at("shared_experts.w1.weight", 0) || 1,
	};
	return {
		config: {
			model_type: flavor.num_experts === null ? "qwen3_5" : "qwen3_5_moe",
			text_config: text,
			vision_config: vision,
		},
		shapes: { ...qwen35Export(text, vision, { form }), "mtp.fc.weight": [4, 8] },
		dropped: 1,
	};
}

function qwen3Vl(flavor: Flavor, sizes: Sizes, form: ExpertForm): Export {
	const isTied = flavor.config.enable_weight_tying ?? false;
	const vision = qwenVisionConfig(sizes, "vision_encoder.patch_embed.proj");
	const text = textConfig(flavor, sizes, sizes.at(".q_norm.weight", 0), 1);
	const deep = flavor.keys.filter(({ key }) =>
		/deepstack_merger_list\.\d+\.norm\.weight$/.test(key),
	).length;
	return {
		config: {
			model_type: flavor.num_experts === null ? "qwen3_vl" : "qwen3_vl_moe",
			tie_word_embeddings: isTied,
			text_config: text,
			vision_config: {
				...vision,
				deepstack_visual_indexes: Array.from({ length: deep }, (_, i) => i),
			},
		},
		shapes: qwen3VlExport(text, vision, deep, { form, isTied }),
	};
}

function muse(flavor: Flavor, sizes: Sizes): Export {
	const headDim = flavor.flavor.startsWith("30B") ? 128 : 64;
	const text = textConfig(flavor, sizes, headDim, 1);
	const hidden = sizes.at("ln_pre.weight", 0);
	const side = Math.sqrt(sizes.at("positional_embedding_vlm", 0));
	const top = {
		out_hidden_size: sizes.at("vision_adapter.c_fc.weight", 1),
		projector_hidden_size: sizes.at("vision_projection.weight", 1),
	};
	const vision = {
		hidden_size: hidden,
		intermediate_size: sizes.at("mlp.linear_fc1.weight", 0),
		num_attention_heads: 4,
		num_hidden_layers: sizes.count("vision_encoder.layers.{}.norm1.weight"),
		patch_size: Math.sqrt(sizes.at("conv1_linear.weight", 1) / 6),
		patch_temporal: 2,
		pos_emb_height: side,
		pos_emb_width: side,
	};
	return {
		config: { model_type: "muse_glimmer", ...top, text_config: text, vision_config: vision },
		shapes: museExport(top, text, hidden === 0 ? undefined : vision),
	};
}

function flux(flavor: Flavor, sizes: Sizes): Export {
	const headDim = sizes.at("query_norm.weight", 0);
	const config = {
		attention_head_dim: headDim,
		num_attention_heads: sizes.at("img_in.weight", 0) / headDim,
		in_channels: sizes.at("img_in.weight", 1),
		joint_attention_dim: sizes.at("txt_in.weight", 1),
		pooled_projection_dim: sizes.at("vector_in.in_layer.weight", 1),
		num_layers: sizes.count("img_mod.lin.weight"),
		num_single_layers: sizes.count("linear1.weight"),
	};
	const guidance = flavor.flavor === "flux-dev";
	return {
		config: { _class_name: "FluxTransformer2DModel", guidance_embeds: guidance, ...config },
		shapes: fluxExport(config, guidance),
		dropped: guidance ? 4 : 0,
	};
}

const EXPORTS = { qwen3_5: qwen35, qwen3_vl: qwen3Vl, muse_glimmer: muse, flux };

test("the fixture has every flavor of both trees", () => {
	expect(FLAVORS).toHaveLength(23);
});

describe("what the layouts' trainers hold is what is made", () => {
	const layouts = goldenLayoutNames().filter((name) => /^main__(qwen3_5|muse|flux)/.test(name));

	test.each(layouts)("%s", (name) => {
		const golden = readGoldenLayout(name);
		const [, family, flavorName] = name.split("__");
		const flavor = FLAVORS.find((one) => one.family === family && one.flavor === flavorName)!;
		const { config, shapes } = EXPORTS[flavor.family](flavor, new Sizes(flavor), "fused");
		const { recipes, facts } = mapModel({ source: sourceOf(config, shapes), target: "torchtitan" });
		const demanded = Object.entries(golden.params).map(([key, param]) => [key, param.global_shape]);
		expect(recipes.map(({ fqn, expr }) => [fqn, expr.shape]).toSorted(byKey)).toEqual(
			demanded.toSorted(byKey),
		);
		// That layout is the trainer's is proved elsewhere; here, that the model's own facts lead to it.
		const { layout, parallelism, rules } = layoutOf(golden);
		const own = createLayout({ parallelism, rules, facts });
		for (const { fqn, expr } of recipes) {
			expect(own.shardsOf(fqn, expr.shape)).toEqual(layout.shardsOf(fqn, expr.shape));
		}
	});

	test("is all of them", () => {
		expect(layouts).toHaveLength(9);
	});
});

function byKey([a]: readonly unknown[], [b]: readonly unknown[]): number {
	return String(a) < String(b) ? -1 : 1;
}

describe.each(FLAVORS)("$tree $family $flavor", (flavor) => {
	const keys = expectedKeys(flavor);
	// Of a real model the separate experts are 90,000 tensors; the debug flavor has the same rules.
	const separate: readonly ExpertForm[] = flavor.flavor === "debugmodel_moe" ? ["separate"] : [];
	const forms: readonly ExpertForm[] =
		flavor.num_experts === null ? ["fused"] : ["fused", "transposed", ...separate];

	test.each(forms)("has the keys and shapes of the trainer, of %s experts", (form) => {
		const { config, shapes, dropped = 0 } = EXPORTS[flavor.family](flavor, new Sizes(flavor), form);
		const map = mapModel({ source: sourceOf(config, shapes, "bfloat16"), target: "torchtitan" });
		expect(map.family).toBe(flavor.family);
		expect(Object.keys(keys)).toHaveLength(flavor.n_keys);
		expect(Object.fromEntries(map.recipes.map(({ fqn, expr }) => [fqn, expr.shape]))).toEqual(keys);
		expect(map.dropped).toHaveLength(dropped);
		expect(map.facts.tiedEmbeddings).toBe(flavor.config.enable_weight_tying ?? false);
		expect(map.facts.experts).toBe(flavor.num_experts ?? 0);
	});
});
