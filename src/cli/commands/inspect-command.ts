import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import {
	HfStreamDcpError,
	inspectCheckpoint,
	inspectSource,
	parseConversionOptions,
	STATE_NAME,
} from "../../index.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { expandHome } from "../expand-home.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { renderCheckpoint, renderSource } from "../render-inspect.ts";

/** Rows of each table when `--limit` is not given. */
const DEFAULT_LIMIT = 40;

/** Adds `inspect`, which shows what a checkpoint or a model repository holds. */
export function addInspectCommand(program: Command, io: CliIo): void {
	const command = program
		.command("inspect")
		.usage("<directory|repo> [flags]")
		.summary("show the tensors, chunks and files of a checkpoint, or of a Hub repository")
		.description(
			"Show the tensors, chunks and files of any DCP directory (ours or torch's), or the tensors of a model on the Hub.\nNothing in a checkpoint is executed, and no weights are read.",
		)
		.argument("<target>", "a directory with .metadata or safetensors files, or org/name on the Hub")
		.option("--revision <ref>", "branch, tag or commit on the Hub (default: main)")
		.option("--limit <n>", `rows of each table, 0 for all (default: ${DEFAULT_LIMIT})`)
		.option("--json", "everything, as JSON");
	addLogFlags(command)
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp inspect /ckpt/step-0",
				"hf-stream-dcp inspect meta-llama/Llama-4-Scout-17B-16E --json",
			]),
		)
		.addHelpText("after", exitCodeHelp())
		.action(async (argument: string, values: FlagValues) => {
			const target = expandHome(argument, io.env);
			const limit = readLimit(values["limit"]);
			const isJson = values["json"] === true;
			if (isCheckpoint(target)) await showCheckpoint(io, target, limit, isJson);
			else await showSource(io, target, limit, values);
		});
}

function readLimit(text: unknown): number {
	if (text === undefined) return DEFAULT_LIMIT;
	if (typeof text !== "string" || !/^\d+$/.test(text)) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`--limit: expected a whole number of at least 0, got ${JSON.stringify(text)}`,
		);
	}
	return text === "0" ? Infinity : Number(text);
}

/**
 * Shows a checkpoint on stdout.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` after it was shown, when something is wrong with it.
 */
export async function showCheckpoint(
	io: CliIo,
	directory: string,
	limit: number,
	isJson: boolean,
): Promise<void> {
	const checkpoint = await inspectCheckpoint(resolve(directory));
	io.stdout.write(
		isJson
			? `${JSON.stringify(checkpoint, undefined, "\t")}\n`
			: `${renderCheckpoint(checkpoint, limit)}\n`,
	);
	const { problems } = checkpoint;
	if (problems.length === 0) return;
	throw new HfStreamDcpError("CHECKPOINT_CORRUPT", `${directory}: ${problems.join("\n  ")}`, {
		hint: "Make it again; torch does not look for this, and would load something else than was saved.",
		facts: { directory, problems },
	});
}

async function showSource(
	io: CliIo,
	repo: string,
	limit: number,
	values: FlagValues,
): Promise<void> {
	if (isUnfinishedCheckpoint(repo)) {
		throw new HfStreamDcpError(
			"CHECKPOINT_CORRUPT",
			`${repo} has no .metadata: it is not a finished checkpoint`,
			{
				hint: "Run the command that was writing it again: it continues where it stopped.",
			},
		);
	}
	const options = parseConversionOptions({
		repo,
		revision: values["revision"],
		environment: io.env,
	});
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		await using opened = await inspectSource({
			...options,
			signal: interrupts.signal,
			onEvent: progress.onEvent,
		});
		progress.stop();
		opened.warnings.forEach(progress.warn);
		const { source } = opened;
		io.stdout.write(
			values["json"] === true
				? `${JSON.stringify(source, undefined, "\t")}\n`
				: `${renderSource(source, limit)}\n`,
		);
	} finally {
		progress.stop();
	}
}

function namesIn(directory: string): readonly string[] {
	try {
		return readdirSync(directory);
	} catch {
		// Not a directory: then it is the name of a repository.
		return [];
	}
}

/** Whether `directory` holds `.metadata`, or `__{rank}.metadata` as torch writes without collectives. */
function isCheckpoint(directory: string): boolean {
	return namesIn(directory).some((name) => /^(?:__\d+)?\.metadata$/.test(name));
}

/** A directory with data files or the state of a job but no `.metadata`: what an interrupted conversion leaves. */
function isUnfinishedCheckpoint(directory: string): boolean {
	return namesIn(directory).some((name) => name.endsWith(".distcp") || name === STATE_NAME);
}
