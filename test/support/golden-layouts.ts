import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { Layout, LayoutRules } from "../../src/core/layout.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { type Parallelism, resolveParallelism } from "../../src/layout/parallelism.ts";

/** What torchtitan's own code made of one model and mesh; large worlds hold a sample of ranks. */
export interface GoldenLayout {
	readonly tree: string;
	readonly spmd_backend: "default" | "partial_dtensor" | "spmd_types";
	readonly world_size: number;
	readonly parallel_dims: {
		readonly dp_replicate: number;
		readonly dp_shard: number;
		readonly cp: number;
		readonly tp: number;
		readonly pp: number;
		readonly ep: number;
	};
	readonly pp_schedule: string | null;
	readonly module_names_per_stage?: readonly (readonly string[])[];
	readonly params: {
		readonly [fqn: string]: {
			readonly global_shape: readonly number[];
			readonly mesh_dims: readonly string[] | null;
			readonly placements: readonly string[] | null;
			readonly kind: "param" | "buffer" | "hook" | "param_not_in_state_dict";
		};
	};
	readonly ranks: {
		readonly [rank: string]: {
			readonly axis_rank: { readonly [axis: string]: number };
			readonly stages: readonly number[] | null;
			readonly state: {
				readonly [fqn: string]: {
					readonly chunks: readonly (readonly [readonly number[], readonly number[]])[];
				};
			};
		};
	};
}

const folder = new URL("../fixtures/torchtitan-layouts/", import.meta.url);

/** File names of all golden layouts. */
export function goldenLayoutNames(): readonly string[] {
	return readdirSync(folder).filter((name) => name.endsWith(".json.gz"));
}

/** Our layout for the mesh and the model of a golden one. */
export function layoutOf(golden: GoldenLayout): {
	readonly parallelism: Parallelism;
	readonly rules: LayoutRules;
	readonly layers: number;
	readonly layout: Layout;
} {
	const parallelism = resolveParallelism(inputOf(golden));
	const layers = layersOf(golden);
	const rules = rulesOf(golden);
	const layout = createLayout({
		parallelism,
		rules,
		facts: {
			layers,
			// The heads are not part of the golden files; 64 is divided by every tp in them.
			attentionHeads: 64,
			keyValueHeads: 64,
			experts: expertsOf(golden),
			tiedEmbeddings: false,
		},
	});
	return { parallelism, rules, layers, layout };
}

/** Reads one of them. */
export function readGoldenLayout(name: string): GoldenLayout {
	return JSON.parse(gunzipSync(readFileSync(new URL(name, folder))).toString()) as GoldenLayout;
}

function inputOf({ parallel_dims: dims, pp_schedule: schedule }: GoldenLayout) {
	return {
		dpReplicate: dims.dp_replicate,
		dpShard: dims.dp_shard,
		cp: dims.cp,
		tp: dims.tp,
		pp: dims.pp,
		ep: dims.ep,
		pipelineSchedule: schedule ?? undefined,
	};
}

function rulesOf(golden: GoldenLayout): LayoutRules {
	return {
		kind: "torchtitan",
		fusedQkv: Object.values(golden.params).some(({ kind }) => kind === "hook"),
		expertThreshold: golden.spmd_backend === "spmd_types" ? "fsdp_tp" : "fsdp",
		expertTensorParallel: false,
	};
}

function layersOf({ params }: GoldenLayout): number {
	const indices = Object.keys(params).map((fqn) => Number(/^layers\.(\d+)\./.exec(fqn)?.[1] ?? -1));
	return Math.max(...indices) + 1;
}

function expertsOf({ params }: GoldenLayout): number {
	const found = Object.entries(params).find(([fqn]) => /\.(w2_EDF|mlp2_weight_EDF)$/.test(fqn));
	return found?.[1].global_shape[0] ?? 0;
}
