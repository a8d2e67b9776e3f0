import { type Command, Option } from "commander";
import { HfStreamDcpError } from "../index.ts";

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

/** torchtitan's parser takes `-` for `_` in its names; so do we. */
export function normaliseArguments(argv: readonly string[]): string[] {
	return argv.map((argument) => {
		if (!argument.startsWith(TORCHTITAN_PREFIX)) return argument;
		const [name = "", ...value] = argument.split("=");
		const rest = name.slice(TORCHTITAN_PREFIX.length).replaceAll("-", "_");
		return [`${TORCHTITAN_PREFIX}${rest}`, ...value].join("=");
	});
}
