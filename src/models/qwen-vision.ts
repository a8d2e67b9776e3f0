import { each, type FamilyItem, tensor, type TensorRule } from "./family.ts";
import { layerNorm, linear } from "./modules.ts";
import type { NumberRule, NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import { slice } from "./relayouts.ts";

/*
 * The vision encoder of Qwen 3-VL and Qwen 3.5, in the order of torchtitan's state dict.
 */

/** Numbers of `config.json` that the rules below use. */
export const QWEN_VISION_NUMBERS: { readonly [name: string]: NumberRule } = {
	vision_layers: { keys: ["vision_config.depth"] },
	vision_hidden: { keys: ["vision_config.hidden_size"] },
	vision_inner: { keys: ["vision_config.intermediate_size"] },
	vision_heads: { keys: ["vision_config.num_heads"] },
	vision_out: { keys: ["vision_config.out_hidden_size"] },
	positions: { keys: ["vision_config.num_position_embeddings"] },
	channels: { keys: ["vision_config.in_channels"], default: 3 },
	frames: { keys: ["vision_config.temporal_patch_size"] },
	patch: { keys: ["vision_config.patch_size"] },
	merge: { keys: ["vision_config.spatial_merge_size"] },
	patch_width: { keys: [], default: "channels * frames * patch * patch" },
	merged: { keys: [], default: "merge * merge * vision_hidden" },
};

const TO = "vision_encoder";
const FROM = "model.visual";
const BLOCK = `${TO}.layers.{block}`;
const FROM_BLOCK = `${FROM}.blocks.{block}`;

/** Position and patch embeddings. A convolution whose stride is its kernel is a linear layer over flat patches. */
export function visionEmbeddings(patchEmbedding: Pattern): readonly FamilyItem[] {
	const from = `${FROM}.patch_embed.proj`;
	return [
		tensor(`${TO}.pos_embed`, ["positions", "vision_hidden"], `${FROM}.pos_embed.weight`),
		tensor(`${TO}.${patchEmbedding}.weight`, ["vision_hidden", "patch_width"], {
			kind: "reshape",
			shape: ["vision_hidden", "patch_width"],
			of: `${from}.weight`,
		}),
		tensor(`${TO}.${patchEmbedding}.bias`, ["vision_hidden"], `${from}.bias`),
	];
}

/** The encoder's blocks, with `projections` for queries, keys and values. */
export function visionBlocks(projections: readonly FamilyItem[]): FamilyItem {
	return each("block", "vision_layers", [
		...layerNorm(`${BLOCK}.norm1`, `${FROM_BLOCK}.norm1`, "vision_hidden"),
		...layerNorm(`${BLOCK}.norm2`, `${FROM_BLOCK}.norm2`, "vision_hidden"),
		...projections,
		...linear(`${BLOCK}.attn.proj`, `${FROM_BLOCK}.attn.proj`, ["vision_hidden", "vision_hidden"]),
		...linear(`${BLOCK}.mlp.linear_fc1`, `${FROM_BLOCK}.mlp.linear_fc1`, [
			"vision_inner",
			"vision_hidden",
		]),
		...linear(`${BLOCK}.mlp.linear_fc2`, `${FROM_BLOCK}.mlp.linear_fc2`, [
			"vision_hidden",
			"vision_inner",
		]),
	]);
}

/** Queries, keys and values in one layer, as the export has them. */
export const FUSED_VISION_QKV: readonly TensorRule[] = linear(
	`${BLOCK}.attn.qkv`,
	`${FROM_BLOCK}.attn.qkv`,
	["3 * vision_hidden", "vision_hidden"],
);

/** Queries, keys and values apart: thirds of the rows. */
export const SEPARATE_VISION_QKV: readonly TensorRule[] = [
	visionThird("wq", 0, "vision_hidden"),
	visionThird("wk", "vision_hidden", "2 * vision_hidden"),
	visionThird("wv", "2 * vision_hidden", "3 * vision_hidden"),
].flat();

function visionThird(name: string, start: NumberText, end: NumberText): readonly TensorRule[] {
	return linear(
		`${BLOCK}.attn.${name}`,
		`${FROM_BLOCK}.attn.qkv`,
		["vision_hidden", "vision_hidden"],
		(of) => slice(of, 0, start, end),
	);
}

/** What puts neighbouring patches together and leads to the text model's width; `normWidth` says on which side its norm is. */
export function visionMerger(name: Pattern, normWidth: NumberText): readonly FamilyItem[] {
	const [to, from] = [`${TO}.${name}`, `${FROM}.${name}`];
	return [
		...layerNorm(`${to}.norm`, `${from}.norm`, normWidth),
		...linear(`${to}.linear_fc1`, `${from}.linear_fc1`, ["merged", "merged"]),
		...linear(`${to}.linear_fc2`, `${from}.linear_fc2`, ["vision_out", "merged"]),
	];
}
