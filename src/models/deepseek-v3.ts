import { decoder, ROTARY_FREQUENCIES } from "./decoder.ts";
import { DEEPSEEK_NUMBERS, deepseekLayer } from "./deepseek-layer.ts";
import { type DropRule, each, type Family, type FamilyItem, tensor, when } from "./family.ts";

const TO = "mtp_layers.{mtp}";
const FROM = "model.layers.{layer}";

/** Hugging Face counts the layers for multi-token prediction after the others, and each has a copy of the embedding and the head. */
const PREDICTION: FamilyItem = when(
	"mtp",
	each(
		"mtp",
		"mtp_layers",
		deepseekLayer(
			TO,
			FROM,
			tensor(`${TO}.enorm.weight`, ["hidden"], `${FROM}.enorm.weight`),
			tensor(`${TO}.hnorm.weight`, ["hidden"], `${FROM}.hnorm.weight`),
			tensor(`${TO}.eh_proj.weight`, ["hidden", "2 * hidden"], `${FROM}.eh_proj.weight`),
			tensor(`${TO}.mtp_norm.weight`, ["hidden"], `${FROM}.shared_head.norm.weight`),
		),
		{ layer: "layers + mtp" },
	),
);

const PREDICTION_LAYERS = { layer: ["layers", "layers + mtp_layers"] } as const;

/** What of an export the trainer has no use for. Patterns are for any prefix. */
export const DEEPSEEK_DROPS: readonly DropRule[] = [
	ROTARY_FREQUENCIES,
	{
		pattern: "*model.layers.{layer}.*",
		where: PREDICTION_LAYERS,
		unless: "mtp",
		reason: "layers for multi-token prediction are made for --target torchtitan+mtp only",
	},
	{
		pattern: "*model.layers.{layer}.embed_tokens.weight",
		where: PREDICTION_LAYERS,
		reason: "multi-token prediction uses the model's own embedding",
	},
	{
		pattern: "*model.layers.{layer}.shared_head.head.weight",
		where: PREDICTION_LAYERS,
		reason: "multi-token prediction uses the model's own head",
	},
];

/**
 * DeepSeek V3, V3.1, R1, V2 and V2-Lite, Moonlight, and the text-only exports of Kimi K2. Hugging Face's rotary order is kept.
 *
 * @see torchtitan main b5bcd76c, `models/deepseek_v3/state_dict_adapter.py`; transformers 5.23 `models/deepseek_v3`,
 * `models/deepseek_v2`.
 */
export const DEEPSEEK_V3: Family = {
	name: "deepseek_v3",
	summary: "DeepSeek V3, R1 and V2, Moonlight, Kimi K2 as text (DeepseekV3ForCausalLM, …)",
	modelTypes: ["deepseek_v3", "deepseek_v2", "kimi_k2"],
	architectures: ["DeepseekV3ForCausalLM", "DeepseekV2ForCausalLM"],
	prefixes: [""],
	numbers: DEEPSEEK_NUMBERS,
	unties: true,
	items: [...decoder(...deepseekLayer("layers.{layer}", FROM)), PREDICTION],
	drops: DEEPSEEK_DROPS,
};
