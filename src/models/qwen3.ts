import { attention, decoder, DECODER_NUMBERS, feedForward, LAYER_NORMS } from "./decoder.ts";
import { type Family, type FamilyItem, oneOf, tensor } from "./family.ts";
import { slice, stackExperts, ZERO_EXPERT_BIAS } from "./relayouts.ts";

const MLP = "model.layers.{layer}.mlp";
const EXPERTS = "layers.{layer}.moe.routed_experts.inner_experts";

const DENSE: readonly FamilyItem[] = feedForward("layers.{layer}.feed_forward", MLP, "inner");

/** Norms of every head's queries and keys. */
const HEAD_NORMS: readonly FamilyItem[] = ["q_norm", "k_norm"].map((name) =>
	tensor(
		`layers.{layer}.attention.${name}.weight`,
		["head_dim"],
		`model.layers.{layer}.self_attn.${name}.weight`,
	),
);

const EXPERT_BIAS: FamilyItem = tensor(
	"layers.{layer}.moe.expert_bias_E",
	["experts"],
	ZERO_EXPERT_BIAS,
	{ keepDtype: true },
);

const ROUTER: FamilyItem = tensor(
	"layers.{layer}.moe.router.gate.weight",
	["experts", "hidden"],
	`${MLP}.gate.weight`,
);

/** One matrix per expert: what the Hub has and `save_pretrained` writes. */
const SEPARATE_EXPERTS: readonly FamilyItem[] = [
	EXPERT_BIAS,
	tensor(
		`${EXPERTS}.w1_EFD`,
		["experts", "expert_inner", "hidden"],
		stackExperts(`${MLP}.experts.{expert}.gate_proj.weight`),
	),
	tensor(
		`${EXPERTS}.w2_EDF`,
		["experts", "hidden", "expert_inner"],
		stackExperts(`${MLP}.experts.{expert}.down_proj.weight`),
	),
	tensor(
		`${EXPERTS}.w3_EFD`,
		["experts", "expert_inner", "hidden"],
		stackExperts(`${MLP}.experts.{expert}.up_proj.weight`),
	),
	ROUTER,
];

/**
 * All experts in one tensor `[experts, 2 · expert_inner, hidden]`, gate rows before up rows: the form the module holds since
 * transformers 5, which `save_pretrained(save_original_format=False)` writes, and every save of a model loaded from such a file.
 */
const FUSED_EXPERTS: readonly FamilyItem[] = [
	EXPERT_BIAS,
	tensor(
		`${EXPERTS}.w1_EFD`,
		["experts", "expert_inner", "hidden"],
		slice(`${MLP}.experts.gate_up_proj`, 1, 0, "expert_inner"),
	),
	tensor(`${EXPERTS}.w2_EDF`, ["experts", "hidden", "expert_inner"], `${MLP}.experts.down_proj`),
	tensor(
		`${EXPERTS}.w3_EFD`,
		["experts", "expert_inner", "hidden"],
		slice(`${MLP}.experts.gate_up_proj`, 1, "expert_inner", "2 * expert_inner"),
	),
	ROUTER,
];

/**
 * Qwen 3, dense and mixture of experts, text. Hugging Face's rotary order is kept: torchtitan's Qwen 3 uses the same.
 *
 * @see torchtitan main b5bcd76c, `models/qwen3/state_dict_adapter.py`; transformers 5.23 `models/qwen3`, `models/qwen3_moe`.
 */
export const QWEN3: Family = {
	name: "qwen3",
	summary: "Qwen 3, dense and MoE (Qwen3ForCausalLM, Qwen3MoeForCausalLM)",
	modelTypes: ["qwen3", "qwen3_moe"],
	architectures: ["Qwen3ForCausalLM", "Qwen3MoeForCausalLM"],
	prefixes: [""],
	numbers: {
		...DECODER_NUMBERS,
		// Without Llama's defaults: Qwen 3's `head_dim` does not follow from the others.
		kv_heads: { keys: ["num_key_value_heads"] },
		head_dim: { keys: ["head_dim"] },
		// The Hub's files say num_experts; transformers 5 writes num_local_experts.
		experts: { keys: ["num_experts", "num_local_experts"] },
		expert_inner: { keys: ["moe_intermediate_size"] },
	},
	items: decoder(
		...attention(),
		...HEAD_NORMS,
		oneOf(DENSE, SEPARATE_EXPERTS, FUSED_EXPERTS),
		...LAYER_NORMS,
	),
	drops: [
		{
			pattern: "*.rotary_emb.inv_freq",
			reason: "rotary frequencies are computed by the trainer, not loaded",
		},
	],
};
