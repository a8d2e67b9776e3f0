import { ROTARY_FREQUENCIES } from "./decoder.ts";
import { DEEPSEEK_NUMBERS, deepseekLayer } from "./deepseek-layer.ts";
import { each, eachLayer, type Family, type FamilyItem, oneOf, tensor, under } from "./family.ts";
import { layerNorm, linear } from "./modules.ts";
import type { NumberRule } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import { interleaveRotary, slice } from "./relayouts.ts";

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

const SQUARE = ["vision_hidden", "vision_hidden"] as const;

/** Of the Hub: queries, keys and values are thirds of one matrix. */
const JOINT_QKV: readonly FamilyItem[] = ["wq", "wk", "wv"].flatMap((name, third) =>
	linear(`${LAYER}.attn.${name}`, "{block}.wqkv", SQUARE, (of) =>
		slice(of, 0, `${third} * vision_hidden`, `${third + 1} * vision_hidden`),
	),
);

/** Of the modules of transformers, whose rotary embedding wants the halves of a head apart. */
const SEPARATE_QKV: readonly FamilyItem[] = [
	...["q", "k"].flatMap((name) =>
		linear(`${LAYER}.attn.w${name}`, `{block}.attn.${name}_proj`, SQUARE, (of, columns) =>
			interleaveRotary(of, "vision_heads", "vision_hidden / vision_heads", columns),
		),
	),
	...linear(`${LAYER}.attn.wv`, "{block}.attn.v_proj", SQUARE),
];

interface BlockNames {
	readonly norms: readonly [Pattern, Pattern];
	readonly qkv: readonly FamilyItem[];
	readonly output: Pattern;
	readonly mlp: readonly [Pattern, Pattern];
}

/** The blocks of the tower, by what their names begin with. */
function blocks(prefix: string, { norms, qkv, output, mlp }: BlockNames): readonly FamilyItem[] {
	const inner = "vision_inner";
	return [
		under(
			[prefix],
			each("block", "vision_layers", [
				...layerNorm(`${LAYER}.norm1`, `{block}.${norms[0]}`, "vision_hidden"),
				...layerNorm(`${LAYER}.norm2`, `{block}.${norms[1]}`, "vision_hidden"),
				...qkv,
				...linear(`${LAYER}.attn.proj`, `{block}.${output}`, SQUARE),
				...linear(`${LAYER}.mlp.linear_fc1`, `{block}.mlp.${mlp[0]}`, [inner, "vision_hidden"]),
				...linear(`${LAYER}.mlp.linear_fc2`, `{block}.mlp.${mlp[1]}`, ["vision_hidden", inner]),
			]),
		),
	];
}

/** Names of the Hub first; then those of the modules of transformers 5, and what `save_pretrained` of 5.23 writes besides. */
const VISION: readonly FamilyItem[] = [
	under(
		["vision_tower.patch_embed.", "model.vision_tower.patch_embed."],
		oneOf(
			...["weight", "position_embeddings"].map((name) => [
				tensor(
					`${ENCODER}.pos_embed`,
					["grid_height", "grid_width", "vision_hidden"],
					`pos_emb.${name}`,
				),
			]),
		),
	),
	under(
		[
			"vision_tower.patch_embed.",
			"model.vision_tower.patch_embed.",
			"vision_tower.encoder.patch_embed.",
		],
		// A convolution whose stride is its size is a matrix of flattened patches.
		tensor(`${ENCODER}.patch_embed.weight`, ["vision_hidden", "3 * patch * patch"], {
			kind: "reshape",
			shape: ["vision_hidden", "3 * patch * patch"],
			of: "proj.weight",
		}),
		tensor(`${ENCODER}.patch_embed.bias`, ["vision_hidden"], "proj.bias"),
	),
	oneOf(
		blocks("vision_tower.encoder.blocks.", {
			norms: ["norm0", "norm1"],
			qkv: JOINT_QKV,
			output: "wo",
			mlp: ["fc0", "fc1"],
		}),
		blocks("model.vision_tower.layers.", {
			norms: ["norm1", "norm2"],
			qkv: SEPARATE_QKV,
			output: "attn.proj",
			mlp: ["fc1", "fc2"],
		}),
	),
	under(
		["vision_tower.encoder.", "model.vision_tower."],
		...layerNorm(`${ENCODER}.final_norm`, "final_layernorm", "vision_hidden"),
	),
	under(
		["mm_projector.", "multi_modal_projector.", "model.mm_projector."],
		...layerNorm(`${ENCODER}.projector.pre_norm`, "pre_norm", "vision_hidden"),
	),
	oneOf(
		projector("mm_projector.proj.0", "mm_projector.proj.2"),
		projector("multi_modal_projector.linear_1", "multi_modal_projector.linear_2"),
		projector("model.mm_projector.in_proj", "model.mm_projector.out_proj"),
	),
];

/** Leads the patches, put side by side, into the text model. Kimi K2.5 and Kimi-VL name it differently. */
function projector(first: Pattern, second: Pattern): readonly FamilyItem[] {
	return [
		...linear(`${ENCODER}.projector.linear_1`, first, ["merged", "merged"]),
		...linear(`${ENCODER}.projector.linear_2`, second, ["hidden", "merged"]),
	];
}

/** Prefixes of the text model: of the Hub, of the modules of transformers 5, of text alone. */
const MODEL = ["language_model.model.", "model.language_model.", "model."];

/** As `decoder()`, with prefixes for each part: what exports begin their names with differs from part to part. */
const TEXT: readonly FamilyItem[] = [
	under(MODEL, tensor("tok_embeddings.weight", ["vocabulary", "hidden"], "embed_tokens.weight")),
	under(
		[
			...MODEL.map((prefix) => `${prefix}layers.`),
			"language_model.layers.",
			// A slip of `save_pretrained` of transformers 5.23.
			"language_model.model.blocks.",
		],
		eachLayer(...deepseekLayer("layers.{layer}", "{layer}")),
	),
	under(MODEL, tensor("norm.weight", ["hidden"], "norm.weight")),
	under(
		["language_model.", ""],
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
 * `conversion_mapping.py`, `kimi_k25`.
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
	drops: [ROTARY_FREQUENCIES],
};
