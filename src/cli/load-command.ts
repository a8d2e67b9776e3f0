import type { ConvertOptions, ParallelismInput } from "../index.ts";
import { LAYOUT_FLAGS } from "./mesh-flags.ts";

/** What decides how a checkpoint is loaded. */
export interface LoadRecipe {
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	/** Name of the key profile: `torchtitan@2026-06`, `hf`. */
	readonly target: string;
	readonly family: string;
	readonly worldSize: number;
	/** `undefined` when the layout does not come from a mesh. */
	readonly parallelism: ParallelismInput | undefined;
}

/** Most ranks that torchtitan's `run_train.sh` starts: it runs one machine. */
const RANKS_PER_MACHINE = 8;

/** The mesh of a conversion, unless its layout was read from elsewhere. */
export function meshOf({
	like,
	layout,
	parallelism,
}: Pick<ConvertOptions, "like" | "layout" | "parallelism">): ParallelismInput | undefined {
	return like === undefined && layout === undefined ? parallelism : undefined;
}

/** `text` as one word of a POSIX shell. */
export function quoteForShell(text: string): string {
	return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function parallelismFlags({ parallelism, worldSize }: LoadRecipe): string[] {
	if (parallelism === undefined) return ["THE_FLAGS_OF_ITS_MESH"];
	const { dpReplicate = 1, cp = 1, tp = 1, pp = 1 } = parallelism;
	// Always said, and never as -1: left out, torchtitan derives it from however many ranks it finds.
	const dpShard = worldSize / (dpReplicate * cp * tp * pp);
	const values: { readonly [key: string]: unknown } = { ...parallelism, dpShard };
	return LAYOUT_FLAGS.flatMap(({ key, torchtitan }) => {
		const value = values[key];
		if (torchtitan === undefined || value === undefined) return [];
		const text = typeof value === "string" ? value : JSON.stringify(value);
		return [`--parallelism.${torchtitan}=${quoteForShell(text)}`];
	});
}

/** torchtitan's modules that are called otherwise than our families. */
const MODULES: { readonly [family: string]: string } = { kimi_k2: "kimi_k2_7" };

function torchtitanLines(recipe: LoadRecipe): string[] {
	const { directory, family, worldSize, target } = recipe;
	const module = MODULES[family] ?? family;
	const launch =
		worldSize <= RANKS_PER_MACHINE
			? `NGPU=${worldSize} MODULE=${module} CONFIG=YOUR_CONFIG ./run_train.sh`
			: `torchrun YOUR_NODES_AND_RENDEZVOUS -m torchtitan.train --module ${module} --config YOUR_CONFIG`;
	const flags = [
		"--checkpoint.enable",
		`--checkpoint.initial_load_path=${quoteForShell(directory)}`,
		...parallelismFlags(recipe),
	];
	return [
		`Load it in torchtitan (${worldSize} ${worldSize === 1 ? "rank" : "ranks"}; keys of ${target}):`,
		"",
		`  ${[launch, ...flags].join(" \\\n    ")}`,
		"",
		"torchtitan ignores --checkpoint.initial_load_path while its own checkpoint folder (outputs/checkpoint by default)",
		"holds a step-* folder: remove those, or give this run another --dump_folder.",
	];
}

function torchLines({ directory, worldSize }: LoadRecipe): string[] {
	return [
		`Load it in a model that is sharded the same way (${worldSize} ${worldSize === 1 ? "rank" : "ranks"}):`,
		"",
		"  import torch.distributed.checkpoint as dcp",
		"",
		"  state = model.state_dict()  # after fully_shard(model)",
		`  dcp.load(state, checkpoint_id=${JSON.stringify(directory)})`,
		"  model.load_state_dict(state)",
	];
}

/** Whether a key profile is one of torchtitan's. */
function isTorchtitanTarget(target: string): boolean {
	return target.split("@")[0] === "torchtitan";
}

/** How to load a checkpoint, for people to copy; no line break at the end. */
export function describeLoading(recipe: LoadRecipe): string {
	return (isTorchtitanTarget(recipe.target) ? torchtitanLines(recipe) : torchLines(recipe)).join(
		"\n",
	);
}
