import { feedForward } from "./decoder.ts";
import { fusedExperts, separateExperts } from "./experts.ts";
import { type FamilyItem, oneOf, tensor } from "./family.ts";
import type { NumberRule } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import { ZERO_EXPERT_BIAS } from "./relayouts.ts";

/*
 * The decoder layer of DeepSeek V2 and V3: latent attention, and a feed-forward network that is dense or routed. Kimi's text models
 * have the same.
 */

/** Numbers of `config.json`. `hidden / heads` means nothing here: heads have a part with and one without position. */
export const DEEPSEEK_NUMBERS: { readonly [name: string]: NumberRule } = {
	layers: { keys: ["num_hidden_layers"] },
	hidden: { keys: ["hidden_size"] },
	heads: { keys: ["num_attention_heads"] },
	kv_heads: { keys: ["num_key_value_heads"], default: "heads" },
	inner: { keys: ["intermediate_size"] },
	vocabulary: { keys: ["vocab_size"] },
	q_rank: { keys: ["q_lora_rank"] },
	kv_rank: { keys: ["kv_lora_rank"] },
	nope_dim: { keys: ["qk_nope_head_dim"] },
	rope_dim: { keys: ["qk_rope_head_dim"] },
	value_dim: { keys: ["v_head_dim"] },
	// transformers 5 calls it num_local_experts where it stacks them.
	experts: { keys: ["n_routed_experts", "num_local_experts"] },
	shared_experts: { keys: ["n_shared_experts"] },
	expert_inner: { keys: ["moe_intermediate_size"] },
	mtp_layers: { keys: ["num_nextn_predict_layers"], minimum: 0, default: 0 },
};

/**
 * The tensors of one layer.
 *
 * @param to - What its keys begin with: `layers.{layer}`.
 * @param from - The same in the source: `model.layers.{layer}`.
 * @param more - What the layer has besides, which comes before the feed-forward network.
 */
export function deepseekLayer(
	to: Pattern,
	from: Pattern,
	...more: readonly FamilyItem[]
): readonly FamilyItem[] {
	return [
		...latentAttention(`${to}.attention`, `${from}.self_attn`),
		tensor(`${to}.attention_norm.weight`, ["hidden"], `${from}.input_layernorm.weight`),
		tensor(`${to}.ffn_norm.weight`, ["hidden"], `${from}.post_attention_layernorm.weight`),
		...more,
		oneOf(
			feedForward(`${to}.feed_forward`, `${from}.mlp`, "inner"),
			routed(`${to}.moe`, `${from}.mlp`),
		),
	];
}

/** Queries come from a low-rank product, or in the smaller models from one matrix. */
function latentAttention(to: Pattern, from: Pattern): readonly FamilyItem[] {
	const queries = "heads * nope_dim + heads * rope_dim";
	return [
		oneOf(
			[tensor(`${to}.wq.weight`, [queries, "hidden"], `${from}.q_proj.weight`)],
			[
				tensor(`${to}.wq_a.weight`, ["q_rank", "hidden"], `${from}.q_a_proj.weight`),
				tensor(`${to}.q_norm.weight`, ["q_rank"], `${from}.q_a_layernorm.weight`),
				tensor(`${to}.wq_b.weight`, [queries, "q_rank"], `${from}.q_b_proj.weight`),
			],
		),
		tensor(
			`${to}.wkv_a.weight`,
			["kv_rank + rope_dim", "hidden"],
			`${from}.kv_a_proj_with_mqa.weight`,
		),
		tensor(`${to}.kv_norm.weight`, ["kv_rank"], `${from}.kv_a_layernorm.weight`),
		tensor(
			`${to}.wkv_b.weight`,
			["heads * nope_dim + heads * value_dim", "kv_rank"],
			`${from}.kv_b_proj.weight`,
		),
		tensor(`${to}.wo.weight`, ["hidden", "heads * value_dim"], `${from}.o_proj.weight`),
	];
}

function routed(to: Pattern, from: Pattern): readonly FamilyItem[] {
	const bias = `${to}.expert_bias_E`;
	return [
		// V2's routers balance without a bias; the loader wants one all the same.
		oneOf(
			[
				tensor(
					bias,
					["experts"],
					{ kind: "cast", dtype: "float32", of: `${from}.gate.e_score_correction_bias` },
					{ keepDtype: true },
				),
			],
			[tensor(bias, ["experts"], ZERO_EXPERT_BIAS, { keepDtype: true })],
		),
		oneOf(
			separateExperts(`${from}.experts`, "expert_inner", `${to}.routed_experts.inner_experts`),
			fusedExperts(`${from}.experts`, "expert_inner", `${to}.routed_experts.inner_experts`),
		),
		tensor(`${to}.router.gate.weight`, ["experts", "hidden"], `${from}.gate.weight`),
		oneOf(
			feedForward(
				`${to}.shared_experts`,
				`${from}.shared_experts`,
				"shared_experts * expert_inner",
			),
			[],
		),
	];
}
