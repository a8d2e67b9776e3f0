import { type Family, type FamilyItem, tensor, type TensorRule } from "./family.ts";
import { linear } from "./modules.ts";
import type { NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import { concatRows, slice } from "./relayouts.ts";

const DOUBLE = "double_blocks.{block}";
const SINGLE = "single_blocks.{block}";
const FROM_DOUBLE = "transformer_blocks.{block}";
const FROM_SINGLE = "single_transformer_blocks.{block}";

/** Width of the sinusoidal embedding of the time step: fixed in both implementations. */
const TIME_WIDTH = 256;

/** One linear layer of several, rows of the first before those of the second. */
function fused(to: Pattern, from: readonly Pattern[], rows: NumberText): readonly TensorRule[] {
	return ["weight", "bias"].map((name) =>
		tensor(
			`${to}.${name}`,
			name === "weight" ? [rows, "hidden"] : [rows],
			concatRows(from.map((source) => `${source}.${name}`)),
		),
	);
}

/** Norms of every head's queries and keys; `query` and `key` are names of the export. */
function headNorms(to: Pattern, query: Pattern, key: Pattern): readonly TensorRule[] {
	return [
		tensor(`${to}.query_norm.weight`, ["head_dim"], `${query}.weight`),
		tensor(`${to}.key_norm.weight`, ["head_dim"], `${key}.weight`),
	];
}

function embedder(to: Pattern, from: Pattern, width: NumberText): readonly TensorRule[] {
	const names = `time_text_embed.${from}`;
	return [
		...linear(`${to}.in_layer`, `${names}.linear_1`, ["hidden", width]),
		...linear(`${to}.out_layer`, `${names}.linear_2`, ["hidden", "hidden"]),
	];
}

/** Names of one of the two streams of a double block: ours for torchtitan, then those of the export. */
interface Stream {
	readonly to: "img" | "txt";
	readonly norm: string;
	readonly query: string;
	readonly key: string;
	readonly value: string;
	readonly out: string;
	readonly queryNorm: string;
	readonly keyNorm: string;
	readonly feedForward: string;
}

const IMAGE: Stream = {
	to: "img",
	norm: "norm1",
	query: "to_q",
	key: "to_k",
	value: "to_v",
	out: "to_out.0",
	queryNorm: "norm_q",
	keyNorm: "norm_k",
	feedForward: "ff",
};

const TEXT: Stream = {
	to: "txt",
	norm: "norm1_context",
	query: "add_q_proj",
	key: "add_k_proj",
	value: "add_v_proj",
	out: "to_add_out",
	queryNorm: "norm_added_q",
	keyNorm: "norm_added_k",
	feedForward: "ff_context",
};

function stream(names: Stream): readonly TensorRule[] {
	const to = `${DOUBLE}.${names.to}`;
	const attention = `${FROM_DOUBLE}.attn`;
	const inner = `${FROM_DOUBLE}.${names.feedForward}.net`;
	const projections = [names.query, names.key, names.value].map((name) => `${attention}.${name}`);
	return [
		...linear(`${to}_mod.lin`, `${FROM_DOUBLE}.${names.norm}.linear`, ["6 * hidden", "hidden"]),
		...fused(`${to}_attn.qkv`, projections, "3 * hidden"),
		...headNorms(
			`${to}_attn.norm`,
			`${attention}.${names.queryNorm}`,
			`${attention}.${names.keyNorm}`,
		),
		...linear(`${to}_attn.proj`, `${attention}.${names.out}`, ["hidden", "hidden"]),
		...linear(`${to}_mlp.0`, `${inner}.0.proj`, ["4 * hidden", "hidden"]),
		...linear(`${to}_mlp.2`, `${inner}.2`, ["hidden", "4 * hidden"]),
	];
}

const SINGLE_BLOCK: readonly FamilyItem[] = [
	...fused(
		`${SINGLE}.linear1`,
		["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"].map((name) => `${FROM_SINGLE}.${name}`),
		"7 * hidden",
	),
	...linear(`${SINGLE}.linear2`, `${FROM_SINGLE}.proj_out`, ["hidden", "5 * hidden"]),
	...headNorms(`${SINGLE}.norm`, `${FROM_SINGLE}.attn.norm_q`, `${FROM_SINGLE}.attn.norm_k`),
	...linear(`${SINGLE}.modulation.lin`, `${FROM_SINGLE}.norm.linear`, ["3 * hidden", "hidden"]),
];

/** Diffusers writes scale before shift, Flux shift before scale. */
const LAST: readonly FamilyItem[] = [
	...linear("final_layer.linear", "proj_out", ["out_width", "hidden"]),
	...linear("final_layer.adaLN_modulation.1", "norm_out.linear", ["2 * hidden", "hidden"], (of) =>
		concatRows([slice(of, 0, "hidden", "2 * hidden"), slice(of, 0, 0, "hidden")]),
	),
];

/**
 * Flux, the transformer of the diffusion pipeline: FLUX.1-dev, FLUX.1-schnell. The other components of the pipeline are not
 * trained.
 *
 * @see torchtitan main b5bcd76c, `models/flux/model/state_dict_adapter.py`; diffusers `transformer_flux.py`.
 */
export const FLUX: Family = {
	name: "flux",
	summary: "FLUX.1, the transformer of a diffusers pipeline (FluxTransformer2DModel)",
	modelTypes: [],
	architectures: ["FluxTransformer2DModel"],
	prefixes: [""],
	numbers: {
		layers: { keys: ["num_layers"] },
		single_layers: { keys: ["num_single_layers"] },
		heads: { keys: ["num_attention_heads"] },
		kv_heads: { keys: [], default: "heads" },
		head_dim: { keys: ["attention_head_dim"] },
		hidden: { keys: [], default: "heads * head_dim" },
		channels: { keys: ["in_channels"] },
		patch: { keys: ["patch_size"], default: 1 },
		out_channels: { keys: ["out_channels"], default: "channels" },
		out_width: { keys: [], default: "patch * patch * out_channels" },
		text_width: { keys: ["joint_attention_dim"] },
		pooled_width: { keys: ["pooled_projection_dim"] },
	},
	items: [
		...linear("img_in", "x_embedder", ["hidden", "channels"]),
		...embedder("time_in", "timestep_embedder", TIME_WIDTH),
		...embedder("vector_in", "text_embedder", "pooled_width"),
		...linear("txt_in", "context_embedder", ["hidden", "text_width"]),
		{ kind: "each", hole: "block", count: "layers", items: [...stream(IMAGE), ...stream(TEXT)] },
		{ kind: "each", hole: "block", count: "single_layers", items: SINGLE_BLOCK },
		...LAST,
	],
	drops: [
		{
			pattern: "time_text_embed.guidance_embedder.*",
			reason: "torchtitan's Flux is trained without distilled guidance and has no embedding of it",
		},
	],
};
