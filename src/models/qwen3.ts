import {
	attention,
	decoder,
	HEADED_DECODER_NUMBERS,
	feedForward,
	headNorms,
	layerNorms,
	ROTARY_FREQUENCIES,
} from "./decoder.ts";
import { fusedExperts, routed, separateExperts } from "./experts.ts";
import { type Family, type FamilyItem, oneOf } from "./family.ts";

const MLP = "model.layers.{layer}.mlp";

const DENSE: readonly FamilyItem[] = feedForward("layers.{layer}.feed_forward", MLP, "inner");

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
		...HEADED_DECODER_NUMBERS,
		// The Hub's files say num_experts; transformers 5 writes num_local_experts.
		experts: { keys: ["num_experts", "num_local_experts"] },
		expert_inner: { keys: ["moe_intermediate_size"] },
	},
	items: decoder(
		...attention(),
		...headNorms(),
		oneOf(
			DENSE,
			routed(MLP, separateExperts(`${MLP}.experts`, "expert_inner")),
			routed(MLP, fusedExperts(`${MLP}.experts`, "expert_inner")),
		),
		...layerNorms(),
	),
	drops: [ROTARY_FREQUENCIES],
};
