import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import {
	HfStreamDcpError,
	inspectCheckpoint,
	inspectSource,
	parseConversionOptions,
} from "../../index.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { createProgress, type LogFormat } from "../progress.ts";
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
		.action(async (target: string, values: FlagValues) => {
			const limit = readLimit(values["limit"]);
			const isJson = values["json"] === true;
			if (existsSync(join(target, ".metadata"))) await showCheckpoint(io, target, limit, isJson);
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

/** Shows a checkpoint on stdout. */
export async function showCheckpoint(
	io: CliIo,
	directory: string,
	limit: number,
	isJson: boolean,
): Promise<void> {
	const checkpoint = await inspectCheckpoint(resolve(directory));
	const { index, files } = checkpoint;
	io.stdout.write(
		isJson
			? `${JSON.stringify({ ...index, files }, undefined, "\t")}\n`
			: `${renderCheckpoint(index, files, limit)}\n`,
	);
}

async function showSource(
	io: CliIo,
	repo: string,
	limit: number,
	values: FlagValues,
): Promise<void> {
	if (holdsUnfinishedCheckpoint(repo)) {
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
	const format = values["logFormat"] as LogFormat;
	const progress = createProgress(io, { format, quiet: values["quiet"] === true });
	using interrupts = watchInterrupts(io, "stopping");
	try {
		await using opened = await inspectSource({
			...options,
			signal: interrupts.signal,
			onEvent: progress.onEvent,
		});
		progress.stop();
		for (const message of opened.warnings) progress.onEvent({ kind: "warning", message });
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

/** A directory with data files but no `.metadata`: what an interrupted conversion leaves. */
function holdsUnfinishedCheckpoint(directory: string): boolean {
	try {
		return readdirSync(directory).some((name) => name.endsWith(".distcp"));
	} catch {
		return false;
	}
}
