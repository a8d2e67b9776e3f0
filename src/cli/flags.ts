import { type Command, Option } from "commander";
import { listFamilies, listTargets } from "../index.ts";
import { expandHome } from "./expand-home.ts";
import type { CliIo } from "./io.ts";
import { addMeshFlags, type FlagValues, LAYOUT_FLAGS, readLayoutFlags } from "./mesh-flags.ts";
import { namesOf, suggest } from "./suggestions.ts";

export { type FlagValues } from "./mesh-flags.ts";

/** A flag under a heading of the help; `words` are completed as its value. */
function flagIn(
	group: string,
	flags: string,
	help: string,
	words: () => readonly string[] = () => [],
): Option {
	return suggest(new Option(flags, help), words).helpGroup(group);
}

const MODEL = "Model and target:";

/** Adds the flags that decide what is made of which source. */
export function addFamilyFlags(command: Command): Command {
	return command
		.addOption(
			flagIn(MODEL, "--revision <ref>", "branch, tag or commit on the Hub (default: main)"),
		)
		.addOption(
			flagIn(
				MODEL,
				"--target <profile>",
				"key profile of the trainer; listed below (default: torchtitan)",
				() => namesOf(listTargets()),
			),
		)
		.addOption(
			flagIn(
				MODEL,
				"--family <name|file>",
				"model family, listed below, or a file: ./my-family.json (default: by config.json)",
				() => namesOf(listFamilies()),
			),
		);
}

/** Flags of a conversion that are neither the mesh nor the family. */
const MORE_FLAGS: readonly (readonly [
	group: string,
	flags: string,
	help: string,
	words: readonly string[],
])[] = [
	[
		MODEL,
		"--dtype <dtype>",
		"keep, bfloat16, float16 or float32 (default: keep)",
		["keep", "bfloat16", "float16", "float32"],
	],
	[MODEL, "--keep-quantized", "store FP8, MXFP4, … weights and their scales as they are", []],
	[
		"Resources:",
		"--memory <size>",
		"memory of a thread beyond Node's own, e.g. 256MiB, 2GB (default: 256MiB)",
		[],
	],
	[
		"Resources:",
		"--connections <n>",
		"most connections to one origin, of all threads together (default: 16)",
		[],
	],
	[
		"Resources:",
		"--threads <n>",
		"threads that fetch and write, or auto (default: auto)",
		["auto"],
	],
	[
		"Resources:",
		"--device <device>",
		"what reshards: cpu, webgpu, or auto (default: auto)",
		["cpu", "webgpu", "auto"],
	],
];

/** An option of which a shell completes these values. */
export function withValues(flags: string, help: string, values: readonly string[]): Option {
	return suggest(new Option(flags, help), () => values);
}

/** Adds the flags that decide a plan. */
export function addConversionFlags(command: Command): Command {
	addFamilyFlags(command);
	for (const [group, flags, help, words] of MORE_FLAGS) {
		command.addOption(flagIn(group, flags, help, () => words));
	}
	return addLogFlags(addMeshFlags(command));
}

const LOG = "Log:";

/** Adds the flags that decide what is written to stderr. */
export function addLogFlags(command: Command): Command {
	const format = flagIn(LOG, "--log-format <format>", "of everything on stderr");
	const interval = "between two lines of progress in a log (default: 5)";
	return command
		.addOption(format.choices(["text", "json"]).default("text"))
		.addOption(flagIn(LOG, "--log-interval <seconds>", interval))
		.addOption(flagIn(LOG, "--quiet", "no progress; warnings and errors only"));
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

const FLAG_OF_OPTION: { readonly [path: string]: string } = {
	repo: "<repo>",
	memoryBytes: "--memory",
	keepQuantized: "--keep-quantized",
	leaseSeconds: "--lease",
	maxAmplification: "--max-amplification",
	readBufferBytes: "--read-buffer",
	maxShardBytes: "--max-shard-size",
	skipMissing: "--skip-missing",
	dryRun: "--dry-run",
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
