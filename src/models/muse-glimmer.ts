import { attention, HEADED_DECODER_NUMBERS, feedForward } from "./decoder.ts";
import { each, eachLayer, type Family, type FamilyItem, oneOf, tensor } from "./family.ts";
import { layerNorm, linear } from "./modules.ts";
import { interleaveRotary } from "./relayouts.ts";

const TEXT = "model.language_model";
const LAYER = `${TEXT}.layers.{layer}`;

/** Norms of a layer: torchtitan's name, then the export's. */
const NORMS = [
	["attention_norm", "input_layernorm"],
	["ffn_norm", "pre_feedforward_layernorm"],
	["post_attention_norm", "post_attention_layernorm"],
	["post_ffn_norm", "post_feedforward_layernorm"],
] as const;

const TEXT_LAYER: readonly FamilyItem[] = [
	...attention({ from: LAYER, reorder: interleaveRotary }),
	tensor(
		"layers.{layer}.attention.o_gate.weight",
		["heads * head_dim", "hidden"],
		`${LAYER}.self_attn.gate_proj.weight`,
	),
	...feedForward("layers.{layer}.feed_forward", `${LAYER}.mlp`, "inner"),
	...NORMS.map(([to, from]) =>
		tensor(`layers.{layer}.${to}.weight`, ["hidden"], `${LAYER}.${from}.weight`),
	),
];

const TO = "vision_encoder";
const TOWER = "model.vision_tower";
const BLOCK = `${TO}.layers.{block}`;
const FROM_BLOCK = `${TOWER}.layers.{block}`;
const SQUARE = ["vision_hidden", "vision_hidden"] as const;

/** Queries and keys of the vision encoder are rotated as those of the text model are, so that their biases are reordered as well. */
const VISION_BLOCK: readonly FamilyItem[] = [
	...layerNorm(`${BLOCK}.norm1`, `${FROM_BLOCK}.norm1`, "vision_hidden"),
	...layerNorm(`${BLOCK}.norm2`, `${FROM_BLOCK}.norm2`, "vision_hidden"),
	...(["q", "k"] as const).flatMap((name) =>
		linear(`${BLOCK}.attn.w${name}`, `${FROM_BLOCK}.attn.${name}_proj`, SQUARE, (of, columns) =>
			interleaveRotary(of, "vision_heads", "vision_head_dim", columns),
		),
	),
	...linear(`${BLOCK}.attn.wv`, `${FROM_BLOCK}.attn.v_proj`, SQUARE),
	...linear(`${BLOCK}.attn.proj`, `${FROM_BLOCK}.attn.proj`, SQUARE),
	...linear(`${BLOCK}.mlp.linear_fc1`, `${FROM_BLOCK}.mlp.fc1`, ["vision_inner", "vision_hidden"]),
	...linear(`${BLOCK}.mlp.linear_fc2`, `${FROM_BLOCK}.mlp.fc2`, ["vision_hidden", "vision_inner"]),
];

const VISION: readonly FamilyItem[] = [
	tensor("vision_projection.weight", ["hidden", "projector"], "model.vision_projection.weight"),
	tensor(
		`${TO}.positional_embedding_vlm`,
		["rows * columns", "vision_hidden"],
		`${TOWER}.patch_embedder.position_embedding_table.weight`,
	),
	tensor(
		`${TO}.conv1_linear.weight`,
		["vision_hidden", "3 * frames * patch * patch"],
		`${TOWER}.patch_embedder.patch_embedding.weight`,
	),
	...layerNorm(`${TO}.ln_pre`, `${TOWER}.ln_pre`, "vision_hidden"),
	each("block", "vision_layers", VISION_BLOCK),
	...layerNorm(`${TO}.ln_post`, `${TOWER}.ln_post`, "vision_hidden"),
	tensor("vision_adapter.c_fc.weight", ["projector", "merged"], "model.vision_adapter.fc1.weight"),
	tensor(
		"vision_adapter.c_proj.weight",
		["projector", "projector"],
		"model.vision_adapter.fc2.weight",
	),
];

/**
 * Muse Glimmer, text and vision. A trainer of the text model alone loads the same checkpoint: it does not ask for the vision tensors.
 *
 * @see torchtitan main b5bcd76c, `models/muse_glimmer/state_dict_adapter.py`; transformers 5.23 `models/muse_glimmer`.
 */
export const MUSE_GLIMMER: Family = {
	name: "muse_glimmer",
	summary: "Muse Glimmer, text and vision (MuseGlimmerForConditionalGeneration)",
	modelTypes: ["muse_glimmer"],
	architectures: ["MuseGlimmerForConditionalGeneration"],
	configKey: "text_config",
	prefixes: [""],
	numbers: {
		...HEADED_DECODER_NUMBERS,
		projector: { keys: [".projector_hidden_size"] },
		merged: { keys: [".out_hidden_size"] },
		vision_layers: { keys: ["vision_config.num_hidden_layers"] },
		vision_hidden: { keys: ["vision_config.hidden_size"] },
		vision_inner: { keys: ["vision_config.intermediate_size"] },
		vision_heads: { keys: ["vision_config.num_attention_heads"] },
		vision_head_dim: { keys: [], default: "vision_hidden / vision_heads" },
		rows: { keys: ["vision_config.pos_emb_height"] },
		columns: { keys: ["vision_config.pos_emb_width"] },
		frames: { keys: ["vision_config.patch_temporal"] },
		patch: { keys: ["vision_config.patch_size"] },
	},
	otherHeads: { vision_heads: "attention heads of the vision encoder" },
	items: [
		tensor(
			"tok_embeddings.embedding.weight",
			["vocabulary", "hidden"],
			`${TEXT}.embed_tokens.weight`,
		),
		eachLayer(...TEXT_LAYER),
		tensor("norm.weight", ["hidden"], `${TEXT}.norm.weight`),
		tensor("lm_head.weight", ["vocabulary", "hidden"], "lm_head.weight", {
			tied: `${TEXT}.embed_tokens.weight`,
		}),
		oneOf(VISION, []),
	],
	drops: [],
};
