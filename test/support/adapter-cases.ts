import { type Shapes, traceableBytes } from "./model-sources.ts";

const DEBUG = {
	vocab_size: 2048,
	hidden_size: 256,
	num_attention_heads: 16,
	intermediate_size: 768,
};

/** The text model of torchtitan's debug flavors of Qwen 3.5. */
function qwen35Text(layers: number): object {
	return {
		vocab_size: 248_320,
		hidden_size: 256,
		num_hidden_layers: layers,
		num_attention_heads: 4,
		num_key_value_heads: 2,
		head_dim: 64,
		intermediate_size: 512,
		linear_num_key_heads: 2,
		linear_num_value_heads: 4,
		linear_key_head_dim: 64,
		linear_value_head_dim: 64,
		linear_conv_kernel_dim: 4,
		num_experts: 8,
		moe_intermediate_size: 256,
		shared_expert_intermediate_size: 256,
	};
}

/** Their vision encoder. */
function qwen35Vision(layers: number): object {
	return {
		depth: layers,
		hidden_size: 256,
		intermediate_size: 512,
		num_heads: 4,
		in_channels: 3,
		num_position_embeddings: 1024,
		out_hidden_size: 256,
		patch_size: 16,
		spatial_merge_size: 2,
		temporal_patch_size: 2,
	};
}

/** torchtitan's debug flavors of Qwen 3-VL. */
function qwen3Vl(layers: number, deep: readonly number[]): object {
	const text = { ...qwen35Text(layers), vocab_size: 151_936, moe_intermediate_size: 768 };
	return {
		text_config: text,
		vision_config: { ...qwen35Vision(4), deepstack_visual_indexes: deep },
	};
}

/** What the adapter of June leaves out though the loader demands it: the dense layers of an interleaved model. */
const LLAMA4_DENSE: Shapes = Object.fromEntries(
	[0, 2, 4].flatMap((layer) => {
		const prefix = `language_model.model.layers.${layer}.feed_forward`;
		return [
			[`${prefix}.gate_proj.weight`, [768, 256]],
			[`${prefix}.up_proj.weight`, [768, 256]],
			[`${prefix}.down_proj.weight`, [256, 768]],
		];
	}),
);

/** What a dense layer's weight must be. */
export function llama4Dense(key: string): Uint8Array {
	const projections: { readonly [name: string]: string } = { w1: "gate", w2: "down", w3: "up" };
	const [, layer, , weight] = key.split(".");
	const name = `language_model.model.layers.${layer}.feed_forward.${projections[weight!]}_proj.weight`;
	return traceableBytes(name, LLAMA4_DENSE[name]!);
}

/** The experts of a bf16 export, of which the adapter of main knows no name. */
const GPT_OSS_EXPERTS: Shapes = Object.fromEntries(
	[0, 1, 2, 3].flatMap((layer) => {
		const prefix = `model.layers.${layer}.mlp.experts`;
		return [
			[`${prefix}.gate_up_proj`, [8, 256, 5760]],
			[`${prefix}.gate_up_proj_bias`, [8, 5760]],
			[`${prefix}.down_proj`, [8, 2880, 256]],
			[`${prefix}.down_proj_bias`, [8, 256]],
		];
	}),
);

/** What an expert's weight or bias must be: `mlp1[e, f, d] = gate_up[e, d, f]`, `mlp2[e, d, f] = down[e, f, d]`. */
export function gptOssExpert(key: string): Uint8Array {
	const layer = key.split(".")[1]!;
	const first = key.includes("mlp1");
	const suffix = key.includes("bias") ? "_bias" : "";
	const name = `model.layers.${layer}.mlp.experts.${first ? "gate_up_proj" : "down_proj"}${suffix}`;
	const bytes = traceableBytes(name, GPT_OSS_EXPERTS[name]!);
	const [experts, rows, columns] = GPT_OSS_EXPERTS[name]!;
	if (columns === undefined) return bytes;
	const from = new Uint32Array(bytes.buffer);
	const to = new Uint32Array(from.length);
	let at = 0;
	for (let e = 0; e < experts!; e++) {
		for (let column = 0; column < columns; column++) {
			for (let row = 0; row < rows!; row++) to[at++] = from[(e * rows! + row) * columns + column]!;
		}
	}
	return new Uint8Array(to.buffer);
}

const LATENT = {
	num_hidden_layers: 6,
	q_lora_rank: null,
	kv_lora_rank: 512,
	qk_nope_head_dim: 128,
	qk_rope_head_dim: 64,
	v_head_dim: 128,
	n_routed_experts: 8,
	n_shared_experts: 2,
	moe_intermediate_size: 256,
};

/** A fixture of torchtitan's adapters, and what it does not say. */
export interface AdapterCase {
	/** `flux__flux-debug`: the file's name. */
	readonly golden: string;
	readonly target: string;
	/** `config.json` of such a model. */
	readonly config: object;
	/** Tensors that the adapter does not read though the model has them. */
	readonly extra: Shapes;
}

/** Every fixture. */
export const ADAPTER_CASES: readonly AdapterCase[] = [
	{
		golden: "deepseek_v3__debugmodel",
		target: "torchtitan",
		config: { model_type: "deepseek_v3", ...DEBUG, intermediate_size: 1024, ...LATENT },
		extra: {},
	},
	{
		golden: "deepseek_v3__debugmodel_mtp",
		target: "torchtitan+mtp",
		config: {
			model_type: "deepseek_v3",
			...DEBUG,
			intermediate_size: 1024,
			...LATENT,
			num_nextn_predict_layers: 2,
		},
		extra: {},
	},
	{
		golden: "kimi_k2_7__debugmodel",
		target: "torchtitan",
		config: {
			model_type: "kimi_k25",
			text_config: { model_type: "deepseek_v3", ...DEBUG, intermediate_size: 1024, ...LATENT },
			vision_config: {
				vt_hidden_size: 256,
				vt_intermediate_size: 512,
				vt_num_hidden_layers: 4,
				init_pos_emb_height: 16,
				init_pos_emb_width: 16,
			},
		},
		extra: {},
	},
	{
		golden: "gpt_oss__debugmodel",
		target: "torchtitan",
		config: {
			model_type: "gpt_oss",
			vocab_size: 2048,
			hidden_size: 256,
			num_hidden_layers: 4,
			num_attention_heads: 64,
			num_key_value_heads: 8,
			head_dim: 64,
			intermediate_size: 2880,
			num_local_experts: 8,
		},
		extra: GPT_OSS_EXPERTS,
	},
	{
		golden: "llama3__debugmodel",
		target: "torchtitan",
		config: { model_type: "llama", num_hidden_layers: 6, ...DEBUG },
		extra: {},
	},
	{
		golden: "llama4__debugmodel",
		target: "torchtitan",
		config: {
			model_type: "llama4",
			text_config: {
				...DEBUG,
				num_hidden_layers: 6,
				intermediate_size: 512,
				intermediate_size_mlp: 768,
				num_local_experts: 8,
			},
		},
		extra: LLAMA4_DENSE,
	},
	{
		golden: "qwen3__debugmodel",
		target: "torchtitan",
		config: {
			model_type: "qwen3",
			...DEBUG,
			num_hidden_layers: 8,
			num_key_value_heads: 8,
			head_dim: 128,
			intermediate_size: 3072,
			tie_word_embeddings: true,
		},
		extra: {},
	},
	{
		golden: "qwen3__debugmodel_moe",
		target: "torchtitan",
		config: {
			model_type: "qwen3_moe",
			...DEBUG,
			num_hidden_layers: 8,
			num_key_value_heads: 8,
			head_dim: 128,
			num_experts: 64,
			moe_intermediate_size: 768,
		},
		extra: {},
	},
	{
		golden: "qwen3_5__debugmodel",
		target: "torchtitan",
		config: { model_type: "qwen3_5", vision_config: qwen35Vision(4), text_config: qwen35Text(8) },
		extra: {},
	},
	{
		golden: "qwen3_5__debugmodel_moe",
		target: "torchtitan",
		config: {
			model_type: "qwen3_5_moe",
			vision_config: qwen35Vision(2),
			text_config: qwen35Text(4),
		},
		extra: {},
	},
	{
		golden: "qwen3_vl__debugmodel",
		target: "torchtitan",
		config: { model_type: "qwen3_vl", ...qwen3Vl(4, [1, 2, 3]) },
		extra: {},
	},
	{
		golden: "qwen3_vl__debugmodel_moe",
		target: "torchtitan",
		config: { model_type: "qwen3_vl_moe", ...qwen3Vl(1, [1, 2, 3]) },
		extra: {},
	},
	{
		golden: "muse_glimmer__debugmodel_mm",
		target: "torchtitan",
		config: {
			model_type: "muse_glimmer",
			out_hidden_size: 256,
			projector_hidden_size: 128,
			text_config: {
				...DEBUG,
				num_hidden_layers: 8,
				num_attention_heads: 4,
				num_key_value_heads: 2,
				head_dim: 64,
			},
			vision_config: {
				hidden_size: 64,
				intermediate_size: 128,
				num_attention_heads: 4,
				num_hidden_layers: 3,
				patch_size: 14,
				patch_temporal: 2,
				pos_emb_height: 2,
				pos_emb_width: 2,
			},
		},
		extra: {},
	},
	{
		golden: "flux__flux-debug",
		target: "torchtitan",
		// As diffusers writes it: no model_type, and defaults as null.
		config: {
			_class_name: "FluxTransformer2DModel",
			attention_head_dim: 128,
			guidance_embeds: false,
			in_channels: 64,
			joint_attention_dim: 4096,
			num_attention_heads: 12,
			num_layers: 2,
			num_single_layers: 2,
			out_channels: null,
			patch_size: 1,
			pooled_projection_dim: 768,
		},
		extra: {},
	},
];
