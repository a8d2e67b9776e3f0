import { DEEPSEEK_NUMBERS, deepseekLayer } from "./deepseek-layer.ts";
import { each, eachLayer, type Family, type FamilyItem, oneOf, tensor, under } from "./family.ts";
import { layerNorm, linear } from "./modules.ts";
import type { NumberRule } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import { slice } from "./relayouts.ts";

const TOWER = "vision_tower";
const BLOCK = `${TOWER}.encoder.blocks.{block}`;
const ENCODER = "vision_encoder";
const LAYER = `${ENCODER}.layers.{block}`;

/**
 * Numbers of the vision tower, as the `config.json` of Kimi K2.5 and that of Kimi-VL call them; the third is that of transformers 5.
 */
const VISION_NUMBERS: { readonly [name: string]: NumberRule } = {
	vision_layers: {
		keys: ["vision_config.vt_num_hidden_layers", "vision_config.num_hidden_layers"],
	},
	vision_hidden: { keys: ["vision_config.vt_hidden_size", "vision_config.hidden_size"] },
	vision_heads: {
		keys: ["vision_config.vt_num_attention_heads", "vision_config.num_attention_heads"],
	},
	vision_inner: { keys: ["vision_config.vt_intermediate_size", "vision_config.intermediate_size"] },
	patch: { keys: ["vision_config.patch_size"], default: 14 },
	grid_height: { keys: ["vision_config.init_pos_emb_height", "vision_config.pos_emb_height"] },
	grid_width: { keys: ["vision_config.init_pos_emb_width", "vision_config.pos_emb_width"] },
	merge_height: { keys: ["vision_config.merge_kernel_size.0"], default: 2 },
	merge_width: { keys: ["vision_config.merge_kernel_size.1"], default: 2 },
	merged: { keys: [], default: "vision_hidden * merge_height * merge_width" },
};

/** Queries, keys and values are thirds of one matrix. */
const VISION_QKV: readonly FamilyItem[] = ["wq", "wk", "wv"].flatMap((name, third) => {
	const rows = (of: Pattern) =>
		slice(of, 0, `${third} * vision_hidden`, `${third + 1} * vision_hidden`);
	return [
		tensor(
			`${LAYER}.attn.${name}.weight`,
			["vision_hidden", "vision_hidden"],
			rows(`${BLOCK}.wqkv.weight`),
		),
		tensor(`${LAYER}.attn.${name}.bias`, ["vision_hidden"], rows(`${BLOCK}.wqkv.bias`)),
	];
});

const VISION: readonly FamilyItem[] = [
	tensor(
		`${ENCODER}.pos_embed`,
		["grid_height", "grid_width", "vision_hidden"],
		`${TOWER}.patch_embed.pos_emb.weight`,
	),
	// A convolution whose stride is its size is a matrix of flattened patches.
	tensor(`${ENCODER}.patch_embed.weight`, ["vision_hidden", "3 * patch * patch"], {
		kind: "reshape",
		shape: ["vision_hidden", "3 * patch * patch"],
		of: `${TOWER}.patch_embed.proj.weight`,
	}),
	tensor(`${ENCODER}.patch_embed.bias`, ["vision_hidden"], `${TOWER}.patch_embed.proj.bias`),
	each("block", "vision_layers", [
		...layerNorm(`${LAYER}.norm1`, `${BLOCK}.norm0`, "vision_hidden"),
		...layerNorm(`${LAYER}.norm2`, `${BLOCK}.norm1`, "vision_hidden"),
		...VISION_QKV,
		...linear(`${LAYER}.attn.proj`, `${BLOCK}.wo`, ["vision_hidden", "vision_hidden"]),
		...linear(`${LAYER}.mlp.linear_fc1`, `${BLOCK}.mlp.fc0`, ["vision_inner", "vision_hidden"]),
		...linear(`${LAYER}.mlp.linear_fc2`, `${BLOCK}.mlp.fc1`, ["vision_hidden", "vision_inner"]),
	]),
	...layerNorm(`${ENCODER}.final_norm`, `${TOWER}.encoder.final_layernorm`, "vision_hidden"),
	oneOf(
		projector("mm_projector", "proj.0", "proj.2"),
		projector("multi_modal_projector", "linear_1", "linear_2"),
	),
];

/** Puts neighbouring patches side by side and leads into the text model. Kimi K2.5 and Kimi-VL name it differently. */
function projector(from: Pattern, first: Pattern, second: Pattern): readonly FamilyItem[] {
	const to = `${ENCODER}.projector`;
	return [
		...layerNorm(`${to}.pre_norm`, `${from}.pre_norm`, "vision_hidden"),
		...linear(`${to}.linear_1`, `${from}.${first}`, ["merged", "merged"]),
		...linear(`${to}.linear_2`, `${from}.${second}`, ["hidden", "merged"]),
	];
}

/** As `decoder()`, with one prefix for what lies outside the layers and one for them: some exports have `language_model.layers`. */
const TEXT: readonly FamilyItem[] = [
	under(
		["language_model.", ""],
		tensor("tok_embeddings.weight", ["vocabulary", "hidden"], "model.embed_tokens.weight"),
	),
	under(
		["language_model.model.", "language_model.", "model."],
		eachLayer(...deepseekLayer("layers.{layer}", "layers.{layer}")),
	),
	under(
		["language_model.", ""],
		tensor("norm.weight", ["hidden"], "model.norm.weight"),
		tensor("lm_head.weight", ["vocabulary", "hidden"], "lm_head.weight", {
			tied: "model.embed_tokens.weight",
		}),
	),
];

/**
 * Kimi K2.5 and later, and Kimi-VL: the text model of DeepSeek V3, a MoonViT and a projector. Text alone, as Kimi K2 and Moonlight
 * are, is of the family `deepseek_v3`; its keys are the same.
 *
 * @see torchtitan main b5bcd76c, `models/kimi_k2_7/state_dict_adapter.py`, `models/kimi_k2_7/__init__.py`; transformers 5.23
 * `conversion_mapping.py`, `kimi_k25`: what it saves has the names of the original.
 */
export const KIMI_K2: Family = {
	name: "kimi_k2",
	summary: "Kimi K2.5 and later, Kimi-VL, with vision (KimiK25ForConditionalGeneration, …)",
	modelTypes: ["kimi_k25", "kimi_vl"],
	architectures: [
		"KimiK25ForConditionalGeneration",
		"Kimi_K25ForConditionalGeneration",
		"KimiVLForConditionalGeneration",
	],
	configKey: "text_config",
	prefixes: [""],
	numbers: { ...DEEPSEEK_NUMBERS, ...VISION_NUMBERS },
	otherHeads: { vision_heads: "attention heads of the vision encoder" },
	unties: true,
	items: [...TEXT, ...VISION],
	drops: [
		{
			pattern: "*.rotary_emb.inv_freq",
			reason: "rotary frequencies are computed by the trainer, not loaded",
		},
	],
};
