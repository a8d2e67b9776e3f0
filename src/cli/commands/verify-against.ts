import { type Command, Option } from "commander";
import {
	type CheckpointComparison,
	DEFAULT_SAMPLE,
	HfStreamDcpError,
	parseConversionOptions,
	type SourceComparison,
	verifyAgainstCheckpoint,
	verifyAgainstSource,
} from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import type { FlagValues } from "../flags.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { renderCheckpointComparison, renderSourceComparison } from "../render-comparison.ts";

/** Examples of what {@link addComparisonFlags} adds. */
export const COMPARISON_EXAMPLES = [
	"hf-stream-dcp verify /ckpt/step-0 --hub --sample 5GB",
	"hf-stream-dcp verify /ckpt/step-0 --against /ckpt/other-mesh",
] as const;

const HUB = "Against the source (--hub):";
const OTHER = "Against another checkpoint (--against):";
const BOTH = "With --hub and --against:";

/** Flags of each level, by attribute. */
const OWN_FLAGS = {
	hub: ["sample", "seed", "source", "connections"],
	against: ["tensors", "ignoreMissing"],
} as const;

/** Adds the flags that compare a checkpoint with something else than its own checksums. */
export function addComparisonFlags(command: Command): Command {
	const add = (heading: string, flags: string, help: string): void => {
		command.addOption(new Option(flags, help).helpGroup(heading));
	};
	add(HUB, "--hub", "fetch a sample of the source again, make its bytes again, compare them");
	add(HUB, "--sample <size>", `of the source: all, 1%, 5GB (default: ${DEFAULT_SAMPLE})`);
	add(HUB, "--seed <n>", "chooses the sample; printed, so that it can be looked at again");
	add(HUB, "--source <repo|dir>", "where the source is now, if it moved");
	add(HUB, "--connections <n>", "most connections to one origin (default: 16)");
	add(OTHER, "--against <dir>", "compare with another checkpoint, of any layout, bit for bit");
	add(OTHER, "--tensors <glob>", "of these names alone: 'layers.0.*'");
	add(OTHER, "--ignore-missing", "tensors that only one of them has are no problem");
	add(BOTH, "--memory <size>", "beyond Node's own, e.g. 256MiB, 2GB (default: 256MiB)");
	return command;
}

/**
 * Runs a comparison, if the flags ask for one.
 *
 * @returns Whether they did.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for flags that do not go together; `CHECKPOINT_CORRUPT` after the report was shown, when
 * something differs.
 */
export async function runComparison(
	io: CliIo,
	directory: string,
	values: FlagValues,
	limit: number,
): Promise<boolean> {
	const level = levelOf(values);
	if (level === undefined) return false;
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		const given = { signal: interrupts.signal, onEvent: progress.onEvent };
		const { report, text } =
			level === "hub"
				? await compareWithSource(io, directory, values, limit, given)
				: await compareWithOther(io, directory, values, limit, given);
		progress.stop();
		io.stdout.write(
			`${values["json"] === true ? JSON.stringify(report, undefined, "\t") : text}\n`,
		);
		failOver(report);
	} finally {
		progress.stop();
	}
	return true;
}

type Given = Pick<Parameters<typeof verifyAgainstSource>[0], "signal" | "onEvent">;

async function compareWithSource(
	io: CliIo,
	directory: string,
	values: FlagValues,
	limit: number,
	given: Given,
): Promise<{ readonly report: SourceComparison; readonly text: string }> {
	const { source } = values;
	const report = await verifyAgainstSource({
		...given,
		...numbersOf(directory, values),
		directory,
		source: typeof source === "string" ? expandHome(source, io.env) : undefined,
		sample: values["sample"] as string | undefined,
		seed: readSeed(values["seed"]),
		environment: io.env,
	});
	return { report, text: renderSourceComparison(report, limit) };
}

async function compareWithOther(
	io: CliIo,
	directory: string,
	values: FlagValues,
	limit: number,
	given: Given,
): Promise<{ readonly report: CheckpointComparison; readonly text: string }> {
	const report = await verifyAgainstCheckpoint({
		...given,
		memoryBytes: numbersOf(directory, values).memoryBytes,
		directory,
		other: expandHome(values["against"] as string, io.env),
		tensors: values["tensors"] as string | undefined,
		ignoreMissing: values["ignoreMissing"] === true,
	});
	return { report, text: renderCheckpointComparison(report, limit) };
}

/** Through the same gate as the flags of a conversion. */
function numbersOf(
	directory: string,
	{ memory, connections }: FlagValues,
): { readonly memoryBytes: number; readonly connections: number } {
	return parseConversionOptions({ repo: directory, memoryBytes: memory, connections });
}

function readSeed(text: unknown): number | undefined {
	if (text === undefined) return undefined;
	if (typeof text === "string" && /^\d{1,10}$/.test(text) && Number(text) < 2 ** 32) {
		return Number(text);
	}
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`--seed: expected a whole number below 4294967296, got ${JSON.stringify(text)}`,
	);
}

function levelOf(values: FlagValues): "hub" | "against" | undefined {
	const levels = ["quick", "hashes", "hub", "against"].filter((name) => values[name] !== undefined);
	if (levels.length > 1) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${levels.map((name) => `--${name}`).join(" and ")} exclude each other`,
			{ hint: "Run one after the other." },
		);
	}
	const level = levels.find((name) => name === "hub" || name === "against");
	for (const [of, flags] of Object.entries(OWN_FLAGS)) {
		const lost = flags.find((name) => of !== level && values[name] !== undefined);
		if (lost === undefined) continue;
		const flag = lost.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
		throw new HfStreamDcpError("OPTIONS_INVALID", `--${flag} means nothing without --${of}`);
	}
	if (values["memory"] !== undefined && level === undefined) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			"--memory means nothing without --hub or --against",
		);
	}
	return level;
}

function failOver(report: SourceComparison | CheckpointComparison): void {
	const { directory, problemCount } = report;
	if (problemCount === 0) return;
	const many = problemCount === 1 ? "1 problem" : `${problemCount} problems`;
	const isSource = "repo" in report;
	throw new HfStreamDcpError(
		"CHECKPOINT_CORRUPT",
		isSource
			? `${directory} is not what its source makes: ${many}`
			: `${directory} does not hold what ${report.other} holds: ${many}`,
		{
			hint: isSource
				? "Do not train from it: convert again with --overwrite. If the source is a directory, find out whether it changed."
				: "`hf-stream-dcp verify` says of each whether it is what was written.",
			facts: { directory, problems: problemCount },
		},
	);
}
