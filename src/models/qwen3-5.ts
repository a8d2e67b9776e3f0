import { HEADED_DECODER_NUMBERS, feedForward, layerNorms, ROTARY_FREQUENCIES } from "./decoder.ts";
import { fusedExperts, routed, separateExperts, transposedExperts } from "./experts.ts";
import {
	eachLayer,
	type Family,
	type FamilyItem,
	oneOf,
	tensor,
	type TensorRule,
	under,
} from "./family.ts";
import type { NumberText } from "./numbers.ts";
import {
	QWEN_VISION_NUMBERS,
	SEPARATE_VISION_QKV,
	visionBlocks,
	visionEmbeddings,
	visionMerger,
} from "./qwen-vision.ts";
import { slice } from "./relayouts.ts";

/** Sources of the text model, below its prefix. */
const LAYER = "layers.{layer}";
const TO = "layers.{layer}.attn";
const MLP = `${LAYER}.mlp`;

/** One layer in four: softmax attention, with a gate of every head's output beside its query. */
const FULL_ATTENTION: readonly FamilyItem[] = [
	attentionWeight("wq", "q_proj", ["2 * heads * head_dim", "hidden"]),
	attentionWeight("wk", "k_proj", ["kv_heads * head_dim", "hidden"]),
	attentionWeight("wv", "v_proj", ["kv_heads * head_dim", "hidden"]),
	attentionWeight("wo", "o_proj", ["hidden", "heads * head_dim"]),
	attentionWeight("q_norm", "q_norm", ["head_dim"]),
	attentionWeight("k_norm", "k_norm", ["head_dim"]),
];

function attentionWeight(to: string, from: string, shape: readonly NumberText[]): TensorRule {
	return tensor(`${TO}.${to}.weight`, shape, `${LAYER}.self_attn.${from}.weight`);
}

const DELTA = `${LAYER}.linear_attn`;

/** Keys begin where queries of the same width end, and values after them. */
const DELTA_PARTS = [
	["q", 0, "key_width", "key_width"],
	["k", "key_width", "2 * key_width", "key_width"],
	["v", "2 * key_width", "2 * key_width + value_width", "value_width"],
] as const;

/** The others: gated delta nets, whose projection and convolution torchtitan takes apart by rows. */
const LINEAR_ATTENTION: readonly FamilyItem[] = [
	tensor(`${TO}.A_log`, ["value_heads"], `${DELTA}.A_log`),
	tensor(`${TO}.dt_bias`, ["value_heads"], `${DELTA}.dt_bias`),
	...DELTA_PARTS.map(([name, start, end, width]) =>
		tensor(
			`${TO}.in_proj_${name}.weight`,
			[width, "hidden"],
			slice(`${DELTA}.in_proj_qkv.weight`, 0, start, end),
		),
	),
	tensor(`${TO}.in_proj_z.weight`, ["value_width", "hidden"], `${DELTA}.in_proj_z.weight`),
	tensor(`${TO}.in_proj_a.weight`, ["value_heads", "hidden"], `${DELTA}.in_proj_a.weight`),
	tensor(`${TO}.in_proj_b.weight`, ["value_heads", "hidden"], `${DELTA}.in_proj_b.weight`),
	...DELTA_PARTS.map(([name, start, end, width]) =>
		tensor(
			`${TO}.conv_${name}.weight`,
			[width, 1, "kernel"],
			slice(`${DELTA}.conv1d.weight`, 0, start, end),
		),
	),
	tensor(`${TO}.norm.weight`, ["value_head_dim"], `${DELTA}.norm.weight`),
	tensor(`${TO}.out_proj.weight`, ["hidden", "value_width"], `${DELTA}.out_proj.weight`),
];

const DENSE: readonly FamilyItem[] = feedForward("layers.{layer}.feed_forward", MLP, "inner");

const MOE = "layers.{layer}.moe";

function routedAndShared(experts: readonly FamilyItem[]): readonly FamilyItem[] {
	return [
		...routed(MLP, experts),
		...feedForward(`${MOE}.shared_experts`, `${MLP}.shared_expert`, "shared_inner"),
		tensor(`${MOE}.shared_experts.gate.weight`, [1, "hidden"], `${MLP}.shared_expert_gate.weight`),
	];
}

const TEXT = "model.language_model.";

/**
 * Qwen 3.5, dense and mixture of experts, text and vision: one layer in four has softmax attention, the others are gated delta nets.
 *
 * Of experts, the Hub has fused tensors `[experts, 2 · inner, hidden]`, `save_pretrained` of transformers 5 writes one matrix per
 * expert, and torchtitan before its #4373 of September 2026 exports them transposed; its own adapter of that time reads no other form.
 *
 * @see torchtitan main b5bcd76c, `models/qwen3_5/state_dict_adapter.py`; transformers 5.23 `models/qwen3_5`, `models/qwen3_5_moe`.
 */
export const QWEN3_5: Family = {
	name: "qwen3_5",
	summary: "Qwen 3.5, dense and MoE, with its vision encoder (Qwen3_5ForConditionalGeneration, …)",
	modelTypes: ["qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text"],
	architectures: [
		"Qwen3_5ForConditionalGeneration",
		"Qwen3_5MoeForConditionalGeneration",
		"Qwen3_5ForCausalLM",
		"Qwen3_5MoeForCausalLM",
	],
	configKey: "text_config",
	prefixes: [""],
	numbers: {
		...HEADED_DECODER_NUMBERS,
		experts: { keys: ["num_experts", "num_local_experts"], minimum: 0 },
		expert_inner: { keys: ["moe_intermediate_size"] },
		shared_inner: { keys: ["shared_expert_intermediate_size"] },
		key_heads: { keys: ["linear_num_key_heads"] },
		value_heads: { keys: ["linear_num_value_heads"] },
		key_head_dim: { keys: ["linear_key_head_dim"] },
		value_head_dim: { keys: ["linear_value_head_dim"] },
		kernel: { keys: ["linear_conv_kernel_dim"] },
		key_width: { keys: [], default: "key_heads * key_head_dim" },
		value_width: { keys: [], default: "value_heads * value_head_dim" },
		...QWEN_VISION_NUMBERS,
	},
	unties: true,
	otherHeads: {
		key_heads: "key heads of the linear attention",
		value_heads: "value heads of the linear attention",
		vision_heads: "attention heads of the vision encoder",
	},
	items: [
		under(
			[TEXT, "model."],
			tensor("tok_embeddings.weight", ["vocabulary", "hidden"], "embed_tokens.weight"),
			eachLayer(
				oneOf(LINEAR_ATTENTION, FULL_ATTENTION),
				oneOf(
					DENSE,
					routedAndShared(fusedExperts(`${MLP}.experts`, "expert_inner")),
					routedAndShared(transposedExperts(`${MLP}.experts`, "expert_inner")),
					routedAndShared(separateExperts(`${MLP}.experts`, "expert_inner")),
				),
				...layerNorms(LAYER),
			),
			tensor("norm.weight", ["hidden"], "norm.weight"),
		),
		tensor("lm_head.weight", ["vocabulary", "hidden"], "lm_head.weight", {
			tied: `${TEXT}embed_tokens.weight`,
		}),
		...visionEmbeddings("patch_embed"),
		visionBlocks(SEPARATE_VISION_QKV),
		...visionMerger("merger", "vision_hidden"),
	],
	drops: [
		{ pattern: "mtp.*", reason: "torchtitan's Qwen 3.5 has no multi-token prediction" },
		ROTARY_FREQUENCIES,
	],
};
