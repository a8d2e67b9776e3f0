import { eachLayer, type Family, type FamilyItem, oneOf, tensor } from "./family.ts";
import { slice, transposeInner, ZERO_EXPERT_BIAS } from "./relayouts.ts";

const FEED_FORWARD = "model.layers.{layer}.feed_forward";
const SHARED = `${FEED_FORWARD}.shared_expert`;
const EXPERTS = "layers.{layer}.moe.routed_experts.inner_experts";

/** Every second layer of Maverick. */
const DENSE: readonly FamilyItem[] = [
	tensor(
		"layers.{layer}.feed_forward.w1.weight",
		["dense_inner", "hidden"],
		`${FEED_FORWARD}.gate_proj.weight`,
	),
	tensor(
		"layers.{layer}.feed_forward.w2.weight",
		["hidden", "dense_inner"],
		`${FEED_FORWARD}.down_proj.weight`,
	),
	tensor(
		"layers.{layer}.feed_forward.w3.weight",
		["dense_inner", "hidden"],
		`${FEED_FORWARD}.up_proj.weight`,
	),
];

/** `gate_up_proj` is `[experts, hidden, 2 · inner]`, gate columns before up columns; the trainer wants rows. */
const MOE: readonly FamilyItem[] = [
	tensor("layers.{layer}.moe.expert_bias_E", ["experts"], ZERO_EXPERT_BIAS, { keepDtype: true }),
	tensor(
		`${EXPERTS}.w1_EFD`,
		["experts", "inner", "hidden"],
		transposeInner(slice(`${FEED_FORWARD}.experts.gate_up_proj`, 2, 0, "inner")),
	),
	tensor(
		`${EXPERTS}.w2_EDF`,
		["experts", "hidden", "inner"],
		transposeInner(`${FEED_FORWARD}.experts.down_proj`),
	),
	tensor(
		`${EXPERTS}.w3_EFD`,
		["experts", "inner", "hidden"],
		transposeInner(slice(`${FEED_FORWARD}.experts.gate_up_proj`, 2, "inner", "2 * inner")),
	),
	tensor(
		"layers.{layer}.moe.router.gate.weight",
		["experts", "hidden"],
		`${FEED_FORWARD}.router.weight`,
	),
	tensor(
		"layers.{layer}.moe.shared_experts.w1.weight",
		["inner", "hidden"],
		`${SHARED}.gate_proj.weight`,
	),
	tensor(
		"layers.{layer}.moe.shared_experts.w2.weight",
		["hidden", "inner"],
		`${SHARED}.down_proj.weight`,
	),
	tensor(
		"layers.{layer}.moe.shared_experts.w3.weight",
		["inner", "hidden"],
		`${SHARED}.up_proj.weight`,
	),
];

/**
 * Llama 4, the text model: Scout, Maverick and text-only exports. No rotary reordering.
 *
 * @see torchtitan of 2026-06-07, `models/llama4/state_dict_adapter.py` (which leaves out dense layers); transformers 5.23
 * `models/llama4`: `Llama4ForConditionalGeneration` saves under `language_model.`, `Llama4ForCausalLM` without a prefix.
 */
export const LLAMA4: Family = {
	name: "llama4",
	summary: "Llama 4, text (Llama4ForConditionalGeneration, Llama4ForCausalLM)",
	modelTypes: ["llama4", "llama4_text"],
	architectures: ["Llama4ForConditionalGeneration", "Llama4ForCausalLM"],
	configKey: "text_config",
	prefixes: ["language_model.", ""],
	numbers: {
		layers: { keys: ["num_hidden_layers"] },
		hidden: { keys: ["hidden_size"] },
		heads: { keys: ["num_attention_heads"] },
		kv_heads: { keys: ["num_key_value_heads"], default: "heads" },
		head_dim: { keys: ["head_dim"], default: "hidden / heads" },
		inner: { keys: ["intermediate_size"] },
		dense_inner: { keys: ["intermediate_size_mlp"] },
		experts: { keys: ["num_local_experts"] },
		vocabulary: { keys: ["vocab_size"] },
	},
	items: [
		tensor("tok_embeddings.weight", ["vocabulary", "hidden"], "model.embed_tokens.weight"),
		eachLayer(
			tensor(
				"layers.{layer}.attention.qkv_linear.wq.weight",
				["heads * head_dim", "hidden"],
				"model.layers.{layer}.self_attn.q_proj.weight",
			),
			tensor(
				"layers.{layer}.attention.qkv_linear.wk.weight",
				["kv_heads * head_dim", "hidden"],
				"model.layers.{layer}.self_attn.k_proj.weight",
			),
			tensor(
				"layers.{layer}.attention.qkv_linear.wv.weight",
				["kv_heads * head_dim", "hidden"],
				"model.layers.{layer}.self_attn.v_proj.weight",
			),
			tensor(
				"layers.{layer}.attention.wo.weight",
				["hidden", "heads * head_dim"],
				"model.layers.{layer}.self_attn.o_proj.weight",
			),
			oneOf(DENSE, MOE),
			tensor(
				"layers.{layer}.attention_norm.weight",
				["hidden"],
				"model.layers.{layer}.input_layernorm.weight",
			),
			tensor(
				"layers.{layer}.ffn_norm.weight",
				["hidden"],
				"model.layers.{layer}.post_attention_layernorm.weight",
			),
		),
		tensor("norm.weight", ["hidden"], "model.norm.weight"),
		tensor("lm_head.weight", ["vocabulary", "hidden"], "lm_head.weight", {
			tied: "model.embed_tokens.weight",
		}),
	],
	drops: [
		{ pattern: "vision_model.*", reason: "vision tensors are not part of the text model" },
		{
			pattern: "multi_modal_projector.*",
			reason: "the projector of the vision tensors is not part of the text model",
		},
	],
};
