import type { Command } from "commander";
import { exportCheckpoint, type ExportOptions, parseExportOptions } from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { renderExport } from "../render-export.ts";

/** Adds `export`, which makes a model of a checkpoint. */
export function addExportCommand(program: Command, io: CliIo): void {
	const command = program
		.command("export")
		.usage("<directory> --out DIR [flags]")
		.summary("make safetensors of a checkpoint again: ours, or a trainer's later one")
		.description(
			"Make a Hugging Face model of a DCP checkpoint: safetensors files, their index and config.json. The way back of a conversion,\nfor what it wrote and for what a trainer saved later, in any layout (docs/export.md).",
		)
		.argument("<directory>", "a DCP checkpoint: the directory that holds .metadata")
		.requiredOption("--out <dir>", "directory of the model")
		.option("--model <repo|dir>", "the model that the training began with: headers, small files")
		.option("--revision <ref>", "branch, tag or commit of --model on the Hub (default: main)")
		.option(
			"--manifest <path>",
			"hf-stream-dcp.json of the conversion that it began with, or its directory",
		)
		.option("--family <name|file>", "model family of --model (default: by config.json)")
		.option("--target <profile>", "key profile of the checkpoint (default: by its keys)")
		.option("--dtype <dtype>", "original, stored, bfloat16, float16 or float32 (default: original)")
		.option("--shards <how>", "files as in the original, or by size (default: original)")
		.option("--max-shard-size <size>", "most data in a file, e.g. 5GB (default: 5GB)")
		.option("--fill", "take tensors that the checkpoint lacks from the model")
		.option("--skip-missing", "leave tensors out that the checkpoint lacks")
		.option("--memory <size>", "memory beyond Node's own, e.g. 256MiB, 2GB (default: 256MiB)")
		.option("--connections <n>", "most connections to one origin (default: 16)")
		.option("--overwrite", "replace a model that is there")
		.option("--dry-run", "show what would be written; reads no weights")
		.option("--json", "the summary as JSON");
	addLogFlags(command)
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp export /ckpt/step-0 --out ./model",
				"hf-stream-dcp export outputs/checkpoint/step-1000 --manifest /ckpt/step-0 --out ./model",
				"hf-stream-dcp export outputs/checkpoint/step-1000 --model Qwen/Qwen3-8B --out ./model --dry-run",
				"hf-stream-dcp export /ckpt/step-0 --out ./model --fill --dtype bfloat16 --max-shard-size 2GB",
			]),
		)
		.addHelpText("after", exitCodeHelp())
		.action(async (directory: string, values: FlagValues) => {
			await runExport(io, readOptions(io, directory, values), values);
		});
}

function readOptions(io: CliIo, directory: string, values: FlagValues): ExportOptions {
	const path = (name: string): unknown => {
		const value = values[name];
		return typeof value === "string" ? expandHome(value, io.env) : value;
	};
	return parseExportOptions({
		directory: expandHome(directory, io.env),
		out: path("out"),
		model: path("model"),
		revision: values["revision"],
		manifest: path("manifest"),
		family: path("family"),
		target: values["target"],
		dtype: values["dtype"],
		shards: values["shards"],
		maxShardBytes: values["maxShardSize"],
		fill: values["fill"],
		skipMissing: values["skipMissing"],
		memoryBytes: values["memory"],
		connections: values["connections"],
		overwrite: values["overwrite"],
		dryRun: values["dryRun"],
		environment: io.env,
	});
}

async function runExport(io: CliIo, options: ExportOptions, values: FlagValues): Promise<void> {
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, {
		onFirst: () => progress.warn("stopping; what was written is removed"),
	});
	try {
		const summary = await exportCheckpoint({
			...options,
			signal: interrupts.signal,
			onEvent: progress.onEvent,
		});
		progress.stop();
		io.stdout.write(
			values["json"] === true
				? `${JSON.stringify(summary, undefined, "\t")}\n`
				: `${renderExport(summary)}\n`,
		);
	} finally {
		progress.stop();
	}
}
