import { attention, decoder, DECODER_NUMBERS, feedForward, LAYER_NORMS } from "./decoder.ts";
import { type Family, type FamilyItem, oneOf, tensor } from "./family.ts";
import { slice, transposeInner, ZERO_EXPERT_BIAS } from "./relayouts.ts";

const FEED_FORWARD = "model.layers.{layer}.feed_forward";
const EXPERTS = "layers.{layer}.moe.routed_experts.inner_experts";

/** Every second layer of Maverick. */
const DENSE: readonly FamilyItem[] = feedForward(
	"layers.{layer}.feed_forward",
	FEED_FORWARD,
	"dense_inner",
);

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
	items: decoder(...attention(), oneOf(DENSE, MOE), ...LAYER_NORMS),
	drops: [
		{ pattern: "vision_model.*", reason: "vision tensors are not part of the text model" },
		{
			pattern: "multi_modal_projector.*",
			reason: "the projector of the vision tensors is not part of the text model",
		},
	],
};
