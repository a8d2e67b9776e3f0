import { attention, decoder, HEADED_DECODER_NUMBERS, layerNorms } from "./decoder.ts";
import { EXPERT_BIAS } from "./experts.ts";
import { type Family, type FamilyItem, tensor } from "./family.ts";
import { transposeInner } from "./relayouts.ts";

const ATTENTION = "layers.{layer}.attention";
const FROM = "model.layers.{layer}.self_attn";
const MLP = "model.layers.{layer}.mlp";
const EXPERTS = "layers.{layer}.moe.routed_experts.inner_experts";

function bias(to: string, size: string, from: string): FamilyItem {
	return tensor(`${ATTENTION}.${to}.bias`, [size], `${FROM}.${from}.bias`);
}

/** Matrices of the weights, then the biases of queries, keys and values, as the fused module stores them; the output's come together. */
function biasedAttention(): readonly FamilyItem[] {
	const projections = attention();
	return [
		tensor(`${ATTENTION}.sinks`, ["heads"], `${FROM}.sinks`),
		...projections.slice(0, 3),
		bias("qkv_linear.wq", "heads * head_dim", "q_proj"),
		bias("qkv_linear.wk", "kv_heads * head_dim", "k_proj"),
		bias("qkv_linear.wv", "kv_heads * head_dim", "v_proj"),
		...projections.slice(3),
		bias("wo", "hidden", "o_proj"),
	];
}

/**
 * `gate_up_proj` is `[experts, hidden, 2 · inner]`, gate and up columns in turn, which the trainer keeps as rows in turn. MXFP4
 * sources have it as `gate_up_proj_blocks` and `_scales`, transposed; both come here under one name.
 */
const MOE: readonly FamilyItem[] = [
	EXPERT_BIAS,
	tensor(
		`${EXPERTS}.mlp1_weight_EGD`,
		["experts", "2 * inner", "hidden"],
		transposeInner(`${MLP}.experts.gate_up_proj`),
	),
	tensor(`${EXPERTS}.mlp1_bias_EG`, ["experts", "2 * inner"], `${MLP}.experts.gate_up_proj_bias`),
	tensor(
		`${EXPERTS}.mlp2_weight_EDF`,
		["experts", "hidden", "inner"],
		transposeInner(`${MLP}.experts.down_proj`),
	),
	tensor(`${EXPERTS}.mlp2_bias_ED`, ["experts", "hidden"], `${MLP}.experts.down_proj_bias`),
	tensor("layers.{layer}.moe.router.gate.weight", ["experts", "hidden"], `${MLP}.router.weight`),
	tensor("layers.{layer}.moe.router.gate.bias", ["experts"], `${MLP}.router.bias`),
];

/**
 * gpt-oss, MXFP4 or bf16. No rotary reordering.
 *
 * @see torchtitan main b5bcd76c, `models/gpt_oss/model.py`, `models/gpt_oss/moe.py` (its adapter's names of expert weights are of
 * before 2026-05-27, and load none); transformers 5.23 `models/gpt_oss`, `integrations/mxfp4.py`.
 */
export const GPT_OSS: Family = {
	name: "gpt_oss",
	summary: "gpt-oss, MXFP4 or bf16 (GptOssForCausalLM)",
	modelTypes: ["gpt_oss"],
	architectures: ["GptOssForCausalLM"],
	prefixes: [""],
	numbers: {
		...HEADED_DECODER_NUMBERS,
		experts: { keys: ["num_local_experts", "num_experts"] },
	},
	unties: true,
	items: decoder(...biasedAttention(), ...layerNorms(), ...MOE),
	drops: [],
};
