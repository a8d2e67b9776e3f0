import {
	attention,
	decoder,
	DECODER_NUMBERS,
	feedForward,
	headNorms,
	layerNorms,
	ROTARY_FREQUENCIES,
} from "./decoder.ts";
import { EXPERT_BIAS, fusedExperts, separateExperts } from "./experts.ts";
import { type Family, type FamilyItem, oneOf, tensor } from "./family.ts";

const MLP = "model.layers.{layer}.mlp";

const DENSE: readonly FamilyItem[] = feedForward("layers.{layer}.feed_forward", MLP, "inner");

const ROUTER: FamilyItem = tensor(
	"layers.{layer}.moe.router.gate.weight",
	["experts", "hidden"],
	`${MLP}.gate.weight`,
);

function routed(experts: readonly FamilyItem[]): readonly FamilyItem[] {
	return [EXPERT_BIAS, ...experts, ROUTER];
}

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
		...headNorms(),
		oneOf(
			DENSE,
			routed(separateExperts(`${MLP}.experts`, "expert_inner")),
			routed(fusedExperts(`${MLP}.experts`, "expert_inner")),
		),
		...layerNorms(),
	),
	drops: [ROTARY_FREQUENCIES],
};
