import { attention, decoder, DECODER_NUMBERS, feedForward, layerNorms } from "./decoder.ts";
import { EXPERT_BIAS, transposedExperts } from "./experts.ts";
import { type Family, type FamilyItem, oneOf, tensor } from "./family.ts";

const FEED_FORWARD = "model.layers.{layer}.feed_forward";

/** Every second layer of Maverick. */
const DENSE: readonly FamilyItem[] = feedForward(
	"layers.{layer}.feed_forward",
	FEED_FORWARD,
	"dense_inner",
);

const MOE: readonly FamilyItem[] = [
	EXPERT_BIAS,
	...transposedExperts(`${FEED_FORWARD}.experts`, "inner"),
	tensor(
		"layers.{layer}.moe.router.gate.weight",
		["experts", "hidden"],
		`${FEED_FORWARD}.router.weight`,
	),
	...feedForward("layers.{layer}.moe.shared_experts", `${FEED_FORWARD}.shared_expert`, "inner"),
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
		...DECODER_NUMBERS,
		dense_inner: { keys: ["intermediate_size_mlp"] },
		experts: { keys: ["num_local_experts"] },
	},
	items: decoder(...attention(), oneOf(DENSE, MOE), ...layerNorms()),
	drops: [
		{ pattern: "vision_model.*", reason: "vision tensors are not part of the text model" },
		{
			pattern: "multi_modal_projector.*",
			reason: "the projector of the vision tensors is not part of the text model",
		},
	],
};
