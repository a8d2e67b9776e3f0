import { describe, expect, test } from "vitest";
import type { Dtype } from "../../src/core/dtype.ts";
import type { Source } from "../../src/core/source.ts";
import { mapModel } from "../../src/models/map-model.ts";
import {
	expectedKeys,
	type Flavor as FlavorOf,
	layersWith,
	readFlavors,
	sizeAt,
} from "../support/flavors.ts";
import { type Shapes, sourceOf } from "../support/model-sources.ts";

type Flavor = FlavorOf<"deepseek_v3" | "gpt_oss" | "kimi_k2_7">;

const FLAVORS = readFlavors<Flavor["family"]>("flavors-moe.json");

/** The fixture of June does not say. */
function headsOf(flavor: Flavor): number {
	const alike = FLAVORS.find(
		(other) => other.family === flavor.family && other.flavor === flavor.flavor && other.attention,
	);
	return alike!.attention!.n_heads;
}

interface Export {
	readonly config: { readonly [key: string]: unknown };
	readonly shapes: Shapes;
}

/** Heads of every latent attention: with position, without, of values. */
const LATENT = { qk_rope_head_dim: 64, qk_nope_head_dim: 128, v_head_dim: 128 };

/** Above this many experts they are written in one tensor: it is the same, and much faster. */
const SEPARATE = 64;

/** What Hugging Face has of such a model: `config.json`, names and shapes. */
function latentExport(flavor: Flavor): Export {
	const { dim, vocab_size } = flavor.config;
	const heads = headsOf(flavor);
	const experts = flavor.num_experts!;
	const queryRank = sizeAt(flavor, /\.wq_a\.weight$/, 0);
	const keyRank = sizeAt(flavor, /\.kv_norm\.weight$/, 0);
	const inner = sizeAt(flavor, /feed_forward\.w1\.weight$/, 0);
	const expertInner = sizeAt(flavor, /\.w1_EFD$/, 1);
	const sharedInner = sizeAt(flavor, /shared_experts\.w1\.weight$/, 0);
	const shapes: { [name: string]: readonly number[] } = {
		"model.embed_tokens.weight": [vocab_size, dim],
		"model.norm.weight": [dim],
		"lm_head.weight": [vocab_size, dim],
	};
	const addMlp = (at: string, size: number): void => {
		for (const name of ["gate", "up"]) shapes[`${at}${name}_proj.weight`] = [size, dim];
		shapes[`${at}down_proj.weight`] = [dim, size];
	};
	const routed = layersWith(flavor, /\.w1_EFD$/);
	for (let layer = 0; layer < flavor.n_layers; layer++) {
		const at = `model.layers.${layer}.`;
		const queryRows = heads * 192;
		shapes[`${at}input_layernorm.weight`] = [dim];
		shapes[`${at}post_attention_layernorm.weight`] = [dim];
		if (queryRank === 0) shapes[`${at}self_attn.q_proj.weight`] = [queryRows, dim];
		else {
			shapes[`${at}self_attn.q_a_proj.weight`] = [queryRank, dim];
			shapes[`${at}self_attn.q_a_layernorm.weight`] = [queryRank];
			shapes[`${at}self_attn.q_b_proj.weight`] = [queryRows, queryRank];
		}
		shapes[`${at}self_attn.kv_a_proj_with_mqa.weight`] = [keyRank + 64, dim];
		shapes[`${at}self_attn.kv_a_layernorm.weight`] = [keyRank];
		shapes[`${at}self_attn.kv_b_proj.weight`] = [heads * 256, keyRank];
		shapes[`${at}self_attn.o_proj.weight`] = [dim, heads * 128];
		if (!routed.has(layer)) {
			addMlp(`${at}mlp.`, inner);
			continue;
		}
		shapes[`${at}mlp.gate.weight`] = [experts, dim];
		shapes[`${at}mlp.gate.e_score_correction_bias`] = [experts];
		addMlp(`${at}mlp.shared_experts.`, sharedInner);
		if (experts > SEPARATE) {
			shapes[`${at}mlp.experts.gate_up_proj`] = [experts, 2 * expertInner, dim];
			shapes[`${at}mlp.experts.down_proj`] = [experts, dim, expertInner];
		} else {
			for (let e = 0; e < experts; e++) addMlp(`${at}mlp.experts.${e}.`, expertInner);
		}
	}
	const config = {
		model_type: "deepseek_v3",
		vocab_size,
		hidden_size: dim,
		num_hidden_layers: flavor.n_layers,
		num_attention_heads: heads,
		num_key_value_heads: heads,
		q_lora_rank: queryRank === 0 ? null : queryRank,
		kv_lora_rank: keyRank,
		...LATENT,
		intermediate_size: inner,
		moe_intermediate_size: expertInner,
		n_routed_experts: experts,
		n_shared_experts: sharedInner / expertInner,
	};
	return { config, shapes };
}

function kimiExport(flavor: Flavor): Export {
	const text = latentExport(flavor);
	const [height, width, hidden] = flavor.keys.find(({ key }) => key.endsWith("pos_embed"))!.shape;
	const inner = sizeAt(flavor, /linear_fc1\.weight$/, 0);
	const merged = sizeAt(flavor, /projector\.linear_1\.weight$/, 0);
	const layers = layersWith(flavor, /linear_fc1\.weight$/).size;
	const shapes: { [name: string]: readonly number[] } = Object.fromEntries(
		Object.entries(text.shapes).map(([name, shape]) => [`language_model.${name}`, shape]),
	);
	const linear = (name: string, rows: number, columns: number): void => {
		shapes[`${name}.weight`] = [rows, columns];
		shapes[`${name}.bias`] = [rows];
	};
	const norm = (name: string): void => {
		for (const part of ["weight", "bias"]) shapes[`${name}.${part}`] = [hidden!];
	};
	shapes["vision_tower.patch_embed.pos_emb.weight"] = [height!, width!, hidden!];
	shapes["vision_tower.patch_embed.proj.weight"] = [hidden!, 3, 14, 14];
	shapes["vision_tower.patch_embed.proj.bias"] = [hidden!];
	for (let layer = 0; layer < layers; layer++) {
		const at = `vision_tower.encoder.blocks.${layer}.`;
		norm(`${at}norm0`);
		norm(`${at}norm1`);
		linear(`${at}wqkv`, 3 * hidden!, hidden!);
		linear(`${at}wo`, hidden!, hidden!);
		linear(`${at}mlp.fc0`, inner, hidden!);
		linear(`${at}mlp.fc1`, hidden!, inner);
	}
	norm("vision_tower.encoder.final_layernorm");
	norm("multi_modal_projector.pre_norm");
	linear("multi_modal_projector.linear_1", merged, merged);
	linear("multi_modal_projector.linear_2", flavor.config.dim, merged);
	const config = {
		model_type: "kimi_vl",
		text_config: text.config,
		vision_config: {
			hidden_size: hidden,
			intermediate_size: inner,
			num_hidden_layers: layers,
			patch_size: 14,
			init_pos_emb_height: height,
			init_pos_emb_width: width,
			merge_kernel_size: [2, 2],
		},
	};
	return { config, shapes };
}

function gptOssExport(flavor: Flavor): Export {
	const { dim, vocab_size } = flavor.config;
	const heads = headsOf(flavor);
	const headDim = sizeAt(flavor, /\.wo\.weight$/, 1) / heads;
	const keyRows = sizeAt(flavor, /\.wk\.weight$/, 0);
	const experts = flavor.num_experts!;
	const inner = sizeAt(flavor, /mlp2_weight_EDF$/, 2);
	const shapes: { [name: string]: readonly number[] } = {
		"model.embed_tokens.weight": [vocab_size, dim],
		"model.norm.weight": [dim],
		"lm_head.weight": [vocab_size, dim],
	};
	for (let layer = 0; layer < flavor.n_layers; layer++) {
		const at = `model.layers.${layer}.`;
		const linear = (name: string, rows: number, columns: number): void => {
			shapes[`${at}${name}.weight`] = [rows, columns];
			shapes[`${at}${name}.bias`] = [rows];
		};
		shapes[`${at}input_layernorm.weight`] = [dim];
		shapes[`${at}post_attention_layernorm.weight`] = [dim];
		shapes[`${at}self_attn.sinks`] = [heads];
		linear("self_attn.q_proj", heads * headDim, dim);
		linear("self_attn.k_proj", keyRows, dim);
		linear("self_attn.v_proj", keyRows, dim);
		linear("self_attn.o_proj", dim, heads * headDim);
		linear("mlp.router", experts, dim);
		shapes[`${at}mlp.experts.gate_up_proj`] = [experts, dim, 2 * inner];
		shapes[`${at}mlp.experts.gate_up_proj_bias`] = [experts, 2 * inner];
		shapes[`${at}mlp.experts.down_proj`] = [experts, inner, dim];
		shapes[`${at}mlp.experts.down_proj_bias`] = [experts, dim];
	}
	const config = {
		model_type: "gpt_oss",
		vocab_size,
		hidden_size: dim,
		num_hidden_layers: flavor.n_layers,
		num_attention_heads: heads,
		num_key_value_heads: keyRows / headDim,
		head_dim: headDim,
		intermediate_size: inner,
		num_local_experts: experts,
	};
	return { config, shapes };
}

function exportOf(flavor: Flavor): Export {
	if (flavor.family === "gpt_oss") return gptOssExport(flavor);
	const hasVision = flavor.keys.some(({ key }) => key.startsWith("vision_encoder."));
	return hasVision ? kimiExport(flavor) : latentExport(flavor);
}

/** The same source with its tensors replaced, file offsets left out of account. */
function withTensors(
	source: Source,
	replace: (
		name: string,
		shape: readonly number[],
	) => readonly (readonly [string, Dtype, readonly number[]])[],
): Source {
	const tensors = source.tensors.flatMap((tensor) =>
		replace(tensor.name, tensor.shape).map(([name, dtype, shape]) => ({
			...tensor,
			name,
			dtype,
			shape,
		})),
	);
	return { ...source, tensors };
}

/** As the Hub has it: MXFP4 experts of gpt-oss, FP8 matrices of the largest DeepSeek. */
function quantised(flavor: Flavor, { config, shapes }: Export): Source {
	const isFp8 = flavor.family === "deepseek_v3";
	const quantization_config = isFp8
		? { quant_method: "fp8", weight_block_size: [128, 128], activation_scheme: "dynamic" }
		: { quant_method: "mxfp4" };
	const source = sourceOf({ ...config, quantization_config }, shapes, "bfloat16");
	return withTensors(source, (name, shape) => {
		if (isFp8 && /_proj(_with_mqa)?(\.weight)?$/.test(name)) {
			const scales = shape.map((size, d) => (d < shape.length - 2 ? size : Math.ceil(size / 128)));
			return [
				[name, "float8_e4m3fn", shape],
				[`${name}_scale_inv`, "float32", scales],
			];
		}
		if (!isFp8 && /experts\.(gate_up|down)_proj$/.test(name)) {
			const [experts, columns, rows] = shape;
			return [
				[`${name}_blocks`, "uint8", [experts!, rows!, columns! / 32, 16]],
				[`${name}_scales`, "uint8", [experts!, rows!, columns! / 32]],
			];
		}
		return [[name, "bfloat16", shape]];
	});
}

test("the fixture has every flavor of both trees", () => {
	expect(FLAVORS).toHaveLength(18);
});

describe.each(FLAVORS)("$tree $family $flavor", (flavor) => {
	const keys = expectedKeys(flavor);
	const made = exportOf(flavor);
	const target = flavor.tree === "main" ? "torchtitan" : "torchtitan@2026-06";

	test("has the keys and shapes of the trainer", () => {
		const map = mapModel({ source: sourceOf(made.config, made.shapes, "bfloat16"), target });
		expect(Object.keys(keys)).toHaveLength(flavor.n_keys);
		expect(Object.fromEntries(map.recipes.map(({ fqn, expr }) => [fqn, expr.shape]))).toEqual(keys);
		expect(map.facts).toMatchObject({
			layers: flavor.n_layers,
			attentionHeads: headsOf(flavor),
			experts: flavor.num_experts,
			tiedEmbeddings: false,
		});
	});
});

/** What the Hub has quantised. */
const QUANTISED = FLAVORS.filter(({ family, flavor }) => family === "gpt_oss" || flavor === "671B");

test.each(QUANTISED)("$tree $family $flavor, quantised", (flavor) => {
	const target = flavor.tree === "main" ? "torchtitan" : "torchtitan@2026-06";
	const map = mapModel({ source: quantised(flavor, exportOf(flavor)), target });
	expect(Object.fromEntries(map.recipes.map(({ fqn, expr }) => [fqn, expr.shape]))).toEqual(
		expectedKeys(flavor),
	);
});
