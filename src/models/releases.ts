import type { LayoutRules } from "../core/layout.ts";
import type { NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import type { Template } from "./template.ts";

/**
 * How torchtitan's main branch stored and cut a model from one day on: a key profile as data. Everything in it is JSON.
 *
 * The dates and names are those of torchtitan's git history up to {@link KNOWN_UNTIL}, commit b5bcd76c.
 */
export interface Release {
	/** The part after `torchtitan@`: a day, or the month whose first day it covers. */
	readonly id: string;
	/** First day, `YYYY-MM-DD`. */
	readonly from: string;
	/** What changed that day, for `--help`. */
	readonly summary: string;
	/** Keys this release renamed; later releases' keys are already undone when they are matched. */
	readonly renames: readonly Rename[];
	/** `undefined`: no model fuses its QKV projections. */
	readonly fusedQkv: FusedQkv | undefined;
	readonly expertThreshold: LayoutRules["expertThreshold"];
	readonly expertTensorParallel: boolean;
}

/** A key before and after a release; holes and `*` carry over. */
export interface Rename {
	readonly before: Pattern;
	readonly after: Pattern;
}

/** What a release does with fused QKV. */
export interface FusedQkv {
	readonly families: readonly string[];
	/** Whether those families fuse without being asked. */
	readonly byDefault: boolean;
	/** Tensors of the checkpoint that are made of several; `separate` when fused models store `wq`, `wk`, `wv` all the same. */
	readonly stored: "separate" | readonly Merge[];
}

/** Several target tensors stored as one. */
export interface Merge {
	readonly target: Pattern;
	readonly shape: readonly NumberText[];
	/** Its sources are target keys, in the newest spelling; they leave the checkpoint. */
	readonly make: Template;
}

/** The days on which torchtitan's main branch had a family. */
export interface FamilyLife {
	/** First day, `YYYY-MM-DD`. @default before the oldest release */
	readonly from?: string | undefined;
	/** First day without it. @default it is still there */
	readonly until?: string | undefined;
}

/** By family; one that is not listed has been there all the time. */
export const FAMILY_LIVES: { readonly [family: string]: FamilyLife } = {
	// An experiment until #2203.
	gpt_oss: { from: "2026-01-06" },
	// #3532
	kimi_k2: { from: "2026-07-29" },
	// #3573
	llama4: { until: "2026-06-08" },
	// #4106
	muse_glimmer: { from: "2026-08-11" },
	// #3371 made qwen3_5 of qwen3_vl.
	qwen3_5: { from: "2026-06-10" },
	// #2409
	qwen3_vl: { from: "2026-04-11", until: "2026-06-10" },
};

/** Last day of torchtitan's history that {@link RELEASES} was checked against. */
export const KNOWN_UNTIL = "2026-08-21";

const FUSABLE: readonly string[] = ["llama3", "qwen3", "gpt_oss"];

const QKV = "layers.{layer}.attention.qkv_linear";

/** Per key-value head: its query heads, then its key, then its value. `protocols/state_dict_adapter.py` of 2026-04-20. */
const STORED_FUSED: readonly Merge[] = [
	{
		target: `${QKV}.wqkv.weight`,
		shape: ["heads * head_dim + 2 * kv_heads * head_dim", "hidden"],
		make: {
			kind: "reshape",
			shape: ["heads * head_dim + 2 * kv_heads * head_dim", "hidden"],
			of: {
				kind: "concat",
				axis: 1,
				parts: [
					headsOf(`${QKV}.wq.weight`, "heads / kv_heads"),
					headsOf(`${QKV}.wk.weight`, 1),
					headsOf(`${QKV}.wv.weight`, 1),
				],
			},
		},
	},
];

function headsOf(of: Template, perKeyValueHead: NumberText): Template {
	return { kind: "reshape", shape: ["kv_heads", perKeyValueHead, "head_dim", "hidden"], of };
}

const LEGACY_FUSED: FusedQkv = { families: FUSABLE, byDefault: false, stored: STORED_FUSED };

/** Expert weights and the letters of their dimensions, which became part of their names. */
const EXPERT_SUFFIXES: readonly (readonly [name: string, suffix: string])[] = [
	["w1", "EFD"],
	["w2", "EDF"],
	["w3", "EFD"],
	["mlp1_weight", "EGD"],
	["mlp1_bias", "EG"],
	["mlp2_weight", "EDF"],
	["mlp2_bias", "ED"],
];

/**
 * Newest last. Before the first one keys differ: `freqs_cis` was stored until 2025-08-19 (#1600), and Qwen 3 had no MoE until
 * 2025-09-11 (#1685).
 */
export const RELEASES: readonly Release[] = [
	{
		id: "2025-10",
		from: "2025-09-11",
		summary: "oldest keys served: attention.wq, output, moe.experts.w1",
		renames: [],
		fusedQkv: undefined,
		expertThreshold: "never",
		expertTensorParallel: true,
	},
	{
		id: "2026-03-23",
		from: "2026-03-23",
		summary: "experts cut along dim 1 where they are fewer than the ranks that share them (#2668)",
		renames: [],
		fusedQkv: undefined,
		expertThreshold: "fsdp",
		expertTensorParallel: true,
	},
	{
		id: "2026-04-16",
		from: "2026-04-16",
		summary: "attention.wq → attention.qkv_linear.wq; +fused stores qkv_linear.wqkv (#2878)",
		renames: ["wq", "wk", "wv"].map((name) => ({
			before: `layers.{layer}.attention.${name}.*`,
			after: `${QKV}.${name}.*`,
		})),
		fusedQkv: LEGACY_FUSED,
		expertThreshold: "fsdp",
		expertTensorParallel: true,
	},
	{
		id: "2026-04-27",
		from: "2026-04-27",
		summary: "output → lm_head (#2937)",
		renames: [{ before: "output.*", after: "lm_head.*" }],
		fusedQkv: LEGACY_FUSED,
		expertThreshold: "fsdp",
		expertTensorParallel: true,
	},
	{
		id: "2026-05",
		from: "2026-04-30",
		summary: "expert tensor parallelism removed (#3167)",
		renames: [],
		fusedQkv: LEGACY_FUSED,
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	},
	{
		id: "2026-06",
		from: "2026-05-27",
		summary: "moe.experts.w1 → w1_EFD, expert_bias → expert_bias_E (#3425); last with llama4",
		renames: [
			...EXPERT_SUFFIXES.map(([name, suffix]) => ({
				before: `layers.{layer}.moe.experts.${name}`,
				after: `layers.{layer}.moe.experts.${name}_${suffix}`,
			})),
			{ before: "layers.{layer}.moe.expert_bias", after: "layers.{layer}.moe.expert_bias_E" },
		],
		fusedQkv: LEGACY_FUSED,
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	},
	{
		id: "2026-06-08",
		from: "2026-06-08",
		summary: "llama4 removed (#3573)",
		renames: [],
		fusedQkv: LEGACY_FUSED,
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	},
	{
		id: "2026-06-18",
		from: "2026-06-18",
		// Until 2026-06-26 (#3807) DTensor may have kept wq, wk, wv of a fused model cut. The checkpoint loads all the same.
		summary: "+fused models store wq, wk, wv (#3656)",
		renames: [],
		fusedQkv: { families: FUSABLE, byDefault: false, stored: "separate" },
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	},
	{
		id: "2026-07",
		from: "2026-06-24",
		summary: "QKV fused by default: llama3, qwen3 (#3714)",
		renames: [],
		fusedQkv: { families: FUSABLE, byDefault: true, stored: "separate" },
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	},
	{
		id: "2026-08",
		from: "2026-07-16",
		summary: "moe.experts → moe.routed_experts.inner_experts (#3859)",
		renames: [
			{
				before: "layers.{layer}.moe.experts.*",
				after: "layers.{layer}.moe.routed_experts.inner_experts.*",
			},
		],
		fusedQkv: { families: FUSABLE, byDefault: true, stored: "separate" },
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	},
	{
		id: "2026-08-18",
		from: "2026-08-18",
		summary: "same keys; experts cut as the spmd_types back end does, now the default (#4085)",
		renames: [],
		fusedQkv: { families: FUSABLE, byDefault: true, stored: "separate" },
		expertThreshold: "fsdp_tp",
		expertTensorParallel: false,
	},
];
