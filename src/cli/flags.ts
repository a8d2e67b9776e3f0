import { type Command, Option } from "commander";
import { HfStreamDcpError, listFamilies, listTargets } from "../index.ts";
import { expandHome } from "./expand-home.ts";
import type { CliIo } from "./io.ts";
import { namesOf, suggest } from "./suggestions.ts";

/** A parsed command line by attribute name; flags that were not given are absent. */
export type FlagValues = { readonly [attribute: string]: unknown };

interface LayoutFlag {
	/** Key of the parallelism options. */
	readonly key: string;
	/** Our flag, without dashes. */
	readonly flag: string;
	/** What follows `--parallelism.`; none when torchtitan takes it from its launcher. */
	readonly torchtitan?: string;
	readonly argument: string;
	readonly help: string;
}

/**
 * Every flag of the mesh in both spellings.
 *
 * @see torchtitan `config/job_config.py` (June 2026) for the long names; `expert_tensor_parallel_degree` left it on 2026-04-30.
 */
export const LAYOUT_FLAGS: readonly LayoutFlag[] = [
	{
		key: "dpReplicate",
		flag: "dp-replicate",
		torchtitan: "data_parallel_replicate_degree",
		argument: "<n>",
		help: "copies of the sharded model (HSDP)",
	},
	{
		key: "dpShard",
		flag: "dp-shard",
		torchtitan: "data_parallel_shard_degree",
		argument: "<n>",
		help: "FSDP degree; -1 takes the ranks that --world-size leaves",
	},
	{
		key: "tp",
		flag: "tp",
		torchtitan: "tensor_parallel_degree",
		argument: "<n>",
		help: "tensor parallel degree",
	},
	{
		key: "cp",
		flag: "cp",
		torchtitan: "context_parallel_degree",
		argument: "<n>",
		help: "context parallel degree",
	},
	{
		key: "pp",
		flag: "pp",
		torchtitan: "pipeline_parallel_degree",
		argument: "<n>",
		help: "pipeline parallel degree",
	},
	{
		key: "ep",
		flag: "ep",
		torchtitan: "expert_parallel_degree",
		argument: "<n>",
		help: "expert parallel degree",
	},
	{
		key: "etp",
		flag: "etp",
		torchtitan: "expert_tensor_parallel_degree",
		argument: "<n>",
		help: "expert tensor parallel degree, for targets that have it",
	},
	{
		key: "worldSize",
		flag: "world-size",
		argument: "<n>",
		help: "ranks of the training job; checked against the mesh",
	},
	{
		key: "pipelineSchedule",
		flag: "pp-schedule",
		torchtitan: "pipeline_parallel_schedule",
		argument: "<name>",
		help: "pipeline schedule: 1F1B, Interleaved1F1B, …",
	},
	{
		key: "layersPerStage",
		flag: "pp-layers-per-stage",
		torchtitan: "pipeline_parallel_layers_per_stage",
		argument: "<n>",
		help: "layers of one pipeline stage",
	},
	{
		key: "firstStageLessLayers",
		flag: "pp-first-stage-less-layers",
		torchtitan: "pipeline_parallel_first_stage_less_layers",
		argument: "<n>",
		help: "layers that the embedding counts for",
	},
	{
		key: "lastStageLessLayers",
		flag: "pp-last-stage-less-layers",
		torchtitan: "pipeline_parallel_last_stage_less_layers",
		argument: "<n>",
		help: "layers that norm and head count for",
	},
	{
		key: "moduleFqnsPerModelPart",
		flag: "pp-module-fqns",
		torchtitan: "module_fqns_per_model_part",
		argument: "<parts>",
		help: 'modules of every stage: "tok_embeddings,layers.0;layers.1,norm,lm_head" or JSON',
	},
];

/** What a layout is read from when the mesh does not decide it. */
const LAYOUT_SOURCES = [
	["--like <dir>", "keys, blocks, dtypes and files as in this checkpoint of the training job"],
	["--layout <file>", "as this file says, or a folder of one per rank (docs/layouts.md)"],
] as const;

const TORCHTITAN_PREFIX = "--parallelism.";

function shortOption({ flag, argument, help }: LayoutFlag): Option {
	return new Option(`--${flag} ${argument}`, help).helpGroup("Mesh of the training job:");
}

function longOption(flag: LayoutFlag): Option | undefined {
	if (flag.torchtitan === undefined) return undefined;
	return new Option(
		`${TORCHTITAN_PREFIX}${flag.torchtitan} ${flag.argument}`,
		`as --${flag.flag}`,
	).helpGroup(`The same by torchtitan's names, ${TORCHTITAN_PREFIX}NAME:`);
}

/** torchtitan's names as help lists them: their common beginning is in the heading, which keeps the columns narrow. */
function helpTerm(option: Option): string {
	return option.flags.replace(TORCHTITAN_PREFIX, "");
}

/** Adds the flags that decide what is made of which source. */
export function addFamilyFlags(command: Command): Command {
	const target = new Option(
		"--target <profile>",
		"key profile of the trainer; listed below (default: torchtitan)",
	);
	const family = new Option(
		"--family <name|file>",
		"model family, listed below, or a file: ./my-family.json (default: by config.json)",
	);
	return command
		.option("--revision <ref>", "branch, tag or commit on the Hub (default: main)")
		.addOption(suggest(target, () => namesOf(listTargets())))
		.addOption(suggest(family, () => namesOf(listFamilies())));
}

/** An option of which a shell completes these values. */
export function withValues(flags: string, help: string, values: readonly string[]): Option {
	return suggest(new Option(flags, help), () => values);
}

/** Adds the flags of the mesh and of what stands in for it. */
export function addMeshFlags(command: Command): Command {
	command.configureHelp({ optionTerm: helpTerm });
	for (const flag of LAYOUT_FLAGS) command.addOption(shortOption(flag));
	for (const [flags, help] of LAYOUT_SOURCES) {
		command.addOption(new Option(flags, help).helpGroup("Instead of a mesh:"));
	}
	for (const flag of LAYOUT_FLAGS) {
		const option = longOption(flag);
		if (option !== undefined) command.addOption(option);
	}
	return command;
}

/** Adds the flags that decide a plan. */
export function addConversionFlags(command: Command): Command {
	addFamilyFlags(command)
		.addOption(
			withValues("--dtype <dtype>", "keep, bfloat16, float16 or float32 (default: keep)", [
				"keep",
				"bfloat16",
				"float16",
				"float32",
			]),
		)
		.option("--keep-quantized", "store FP8, MXFP4, … weights and their scales as they are")
		.option(
			"--memory <size>",
			"memory of a thread beyond Node's own, e.g. 256MiB, 2GB (default: 256MiB)",
		)
		.option(
			"--connections <n>",
			"most connections to one origin, of all threads together (default: 16)",
		)
		.addOption(
			withValues("--threads <n>", "threads that fetch and write, or auto (default: auto)", [
				"auto",
			]),
		)
		.addOption(
			withValues("--device <device>", "what reshards: cpu, webgpu, or auto (default: auto)", [
				"cpu",
				"webgpu",
				"auto",
			]),
		);
	return addLogFlags(addMeshFlags(command));
}

/** Adds the flags that decide what is written to stderr. */
export function addLogFlags(command: Command): Command {
	return command
		.addOption(
			new Option("--log-format <format>", "of everything on stderr")
				.choices(["text", "json"])
				.default("text"),
		)
		.option("--log-interval <seconds>", "between two lines of progress in a log (default: 5)")
		.option("--quiet", "no progress; warnings and errors only");
}

function conflict(short: string, long: string, a: string, b: string): HfStreamDcpError {
	return new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${short} ${a} and ${long} ${b} say different things about the same setting`,
		{ hint: "Give one of them.", facts: { flags: [short, long], values: [a, b] } },
	);
}

/**
 * The parallelism options a command line asks for; every value still text.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when two spellings of a setting disagree.
 */
export function readLayoutFlags(values: FlagValues): { readonly [key: string]: string } {
	const result: { [key: string]: string } = {};
	for (const flag of LAYOUT_FLAGS) {
		const short = values[shortOption(flag).attributeName()];
		const longName = longOption(flag);
		const long = longName === undefined ? undefined : values[longName.attributeName()];
		if (typeof short === "string" && typeof long === "string" && short.trim() !== long.trim()) {
			throw conflict(`--${flag.flag}`, `${TORCHTITAN_PREFIX}${flag.torchtitan ?? ""}`, short, long);
		}
		const value = short ?? long;
		if (typeof value === "string") result[flag.key] = value;
	}
	return result;
}

/** What {@link addFamilyFlags} added, for the options gate. */
export function readFamilyFlags(
	values: FlagValues,
	env: CliIo["env"],
): { readonly [key: string]: unknown } {
	const { family } = values;
	return {
		revision: values["revision"],
		target: values["target"],
		family: typeof family === "string" ? expandHome(family, env) : family,
	};
}

/** The options object of a command line, for the options gate: flags that were not given are left out. */
export function readConversionFlags(
	repo: string,
	values: FlagValues,
	env: CliIo["env"],
): { readonly [key: string]: unknown } {
	return {
		repo,
		...readFamilyFlags(values, env),
		dtype: values["dtype"],
		keepQuantized: values["keepQuantized"],
		like: values["like"],
		layout: values["layout"],
		memoryBytes: values["memory"],
		connections: values["connections"],
		threads: values["threads"],
		device: values["device"],
		parallelism: readLayoutFlags(values),
	};
}

/** torchtitan's parser takes `-` for `_` in its names; so do we. */
export function normaliseArguments(argv: readonly string[]): string[] {
	return argv.map((argument) => {
		if (!argument.startsWith(TORCHTITAN_PREFIX)) return argument;
		const [name = "", ...value] = argument.split("=");
		const rest = name.slice(TORCHTITAN_PREFIX.length).replaceAll("-", "_");
		return [`${TORCHTITAN_PREFIX}${rest}`, ...value].join("=");
	});
}

const FLAG_OF_OPTION: { readonly [path: string]: string } = {
	repo: "<repo>",
	memoryBytes: "--memory",
	keepQuantized: "--keep-quantized",
	leaseSeconds: "--lease",
	maxAmplification: "--max-amplification",
	readBufferBytes: "--read-buffer",
	directory: "<directory>",
};

/** The flag a person typed for the option at `path`: `--tp` for `parallelism.tp`. */
export function flagOfOption(path: string): string {
	const [first = "", second] = path.split(".");
	if (first === "parallelism" && second !== undefined) {
		const flag = LAYOUT_FLAGS.find(({ key }) => key === second);
		return flag === undefined ? path : `--${flag.flag}`;
	}
	return FLAG_OF_OPTION[first] ?? `--${first}`;
}
