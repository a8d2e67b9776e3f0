import { FUSABLE, LEGACY_FUSED } from "./fused-qkv.ts";
import type { Release, Rename } from "./release.ts";

/**
 * Last day of torchtitan's history that {@link RELEASES} was checked against: main b5bcd76c. The wheel 0.3.0, published on 2026-09-03,
 * is older: it is main of 2026-08-18, between #4085 and #4217, with the same state-dict adapters.
 */
export const KNOWN_UNTIL = "2026-08-21";

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

const QKV_RENAMES: readonly Rename[] = ["wq", "wk", "wv"].map((name) => ({
	before: `layers.{layer}.attention.${name}.*`,
	after: `layers.{layer}.attention.qkv_linear.${name}.*`,
}));

/**
 * Newest last; dates and names are those of torchtitan's git history. Before the first one keys differ: `freqs_cis` was stored until
 * 2025-08-19 (#1600), and Qwen 3 had no MoE until 2025-09-11 (#1685).
 */
export const RELEASES: readonly Release[] = inheriting([
	{
		id: "2025-10",
		from: "2025-09-11",
		summary: "oldest keys served: attention.wq, output, moe.experts.w1",
		mtp: [],
		fusedQkv: undefined,
		expertThreshold: "never",
		expertTensorParallel: true,
	},
	{
		id: "2026-03-23",
		from: "2026-03-23",
		summary: "experts cut along dim 1 where they are fewer than the ranks that share them (#2668)",
		expertThreshold: "fsdp",
	},
	{
		id: "2026-04-16",
		from: "2026-04-16",
		summary: "attention.wq → attention.qkv_linear.wq; +fused stores qkv_linear.wqkv (#2878)",
		renames: QKV_RENAMES,
		fusedQkv: LEGACY_FUSED,
	},
	{
		id: "2026-04-27",
		from: "2026-04-27",
		summary: "output → lm_head (#2937)",
		renames: [{ before: "output.*", after: "lm_head.*" }],
	},
	{
		id: "2026-05",
		from: "2026-04-30",
		summary: "expert tensor parallelism removed (#3167)",
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
	},
	{ id: "2026-06-08", from: "2026-06-08", summary: "llama4 removed (#3573)" },
	{
		id: "2026-06-18",
		from: "2026-06-18",
		// Until 2026-06-26 (#3807) DTensor may have kept wq, wk, wv of a fused model cut. The checkpoint loads all the same.
		summary: "+fused models store wq, wk, wv (#3656)",
		fusedQkv: { families: FUSABLE, byDefault: false, stored: "separate" },
	},
	{
		id: "2026-07",
		from: "2026-06-24",
		summary: "QKV fused by default: llama3, qwen3, gpt_oss (#3714)",
		fusedQkv: { families: FUSABLE, byDefault: true, stored: "separate" },
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
	},
	{
		id: "2026-08-11",
		from: "2026-08-11",
		summary: "same keys; +mtp: deepseek_v3 (#3392)",
		mtp: ["deepseek_v3"],
	},
	{
		id: "2026-08-18",
		from: "2026-08-18",
		summary: "same keys; experts cut as the spmd_types back end does, now the default (#4085)",
		expertThreshold: "fsdp_tp",
	},
]);

type Carried = "mtp" | "fusedQkv" | "expertThreshold" | "expertTensorParallel";

/** What a release says anew; what it leaves out is as it was before. */
type Change = Omit<Release, Carried | "renames"> &
	Partial<Pick<Release, Carried>> & { readonly renames?: readonly Rename[] };

function inheriting([first, ...changes]: readonly [
	Change & Pick<Release, Carried>,
	...Change[],
]): readonly Release[] {
	const releases: Release[] = [{ renames: [], ...first }];
	for (const change of changes) {
		const before = releases.at(-1) ?? { renames: [], ...first };
		releases.push({ ...before, renames: [], ...change });
	}
	return releases;
}
