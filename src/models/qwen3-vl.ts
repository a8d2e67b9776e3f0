import {
	attention,
	HEADED_DECODER_NUMBERS,
	feedForward,
	headNorms,
	layerNorms,
	ROTARY_FREQUENCIES,
} from "./decoder.ts";
import { fusedExperts, routed, separateExperts, transposedExperts } from "./experts.ts";
import { each, eachLayer, type Family, oneOf, tensor } from "./family.ts";
import {
	FUSED_VISION_QKV,
	QWEN_VISION_NUMBERS,
	visionBlocks,
	visionEmbeddings,
	visionMerger,
} from "./qwen-vision.ts";

const TEXT = "model.language_model";
const LAYER = `${TEXT}.layers.{layer}`;
const MLP = `${LAYER}.mlp`;

/**
 * Qwen 3-VL, dense and mixture of experts, text and vision. The Hub's experts are transposed, `[experts, hidden, 2 · inner]`;
 * transformers 5 may write them either way.
 *
 * @see torchtitan of 2026-06-09, `models/qwen3_vl/state_dict_adapter.py` (which leaves out experts); transformers 5.23
 * `models/qwen3_vl`, `models/qwen3_vl_moe`, `conversion_mapping.py`.
 */
export const QWEN3_VL: Family = {
	name: "qwen3_vl",
	summary: "Qwen 3-VL, dense and MoE, with its vision encoder (Qwen3VLForConditionalGeneration, …)",
	modelTypes: ["qwen3_vl", "qwen3_vl_moe"],
	architectures: ["Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration"],
	configKey: "text_config",
	prefixes: [""],
	numbers: {
		...HEADED_DECODER_NUMBERS,
		experts: { keys: ["num_experts", "num_local_experts"], minimum: 0 },
		expert_inner: { keys: ["moe_intermediate_size"] },
		...QWEN_VISION_NUMBERS,
		/** Layers of the vision encoder whose output goes to a layer of the text model as well. */
		deep_layers: { keys: ["vision_config.deepstack_visual_indexes.length"], minimum: 0 },
	},
	otherHeads: { vision_heads: "attention heads of the vision encoder" },
	items: [
		tensor("tok_embeddings.weight", ["vocabulary", "hidden"], `${TEXT}.embed_tokens.weight`),
		eachLayer(
			...attention({ from: LAYER }),
			...headNorms(LAYER),
			oneOf(
				feedForward("layers.{layer}.feed_forward", MLP, "inner"),
				routed(MLP, transposedExperts(`${MLP}.experts`, "expert_inner")),
				routed(MLP, fusedExperts(`${MLP}.experts`, "expert_inner")),
				routed(MLP, separateExperts(`${MLP}.experts`, "expert_inner")),
			),
			...layerNorms(LAYER),
		),
		tensor("norm.weight", ["hidden"], `${TEXT}.norm.weight`),
		tensor("lm_head.weight", ["vocabulary", "hidden"], "lm_head.weight", {
			tied: `${TEXT}.embed_tokens.weight`,
		}),
		...visionEmbeddings("patch_embed.proj"),
		visionBlocks(FUSED_VISION_QKV),
		...visionMerger("merger", "vision_hidden"),
		each("merger", "deep_layers", visionMerger("deepstack_merger_list.{merger}", "merged")),
	],
	drops: [ROTARY_FREQUENCIES],
};
