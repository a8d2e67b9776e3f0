import type { Command } from "commander";
import {
	convert,
	type ConvertOptions,
	type ConvertSummary,
	type FoundSummary,
	parseConvertOptions,
} from "../../index.ts";
import { addConversionFlags, type FlagValues, readConversionFlags } from "../flags.ts";
import { examplesHelp, referenceHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { createProgress, type LogFormat } from "../progress.ts";
import { expandHome } from "../expand-home.ts";
import { renderSummary } from "../render-summary.ts";

/** Adds `convert`, the command that runs when no other is named. */
export function addConvertCommand(program: Command, io: CliIo): Command {
	const command = program
		.command("convert", { isDefault: true })
		.usage("<repo|directory> --out DIR [flags]")
		.summary("stream a model into a checkpoint (the default command)")
		.description(
			"Stream a Hugging Face model into a PyTorch Distributed Checkpoint, cut for one training mesh.",
		)
		.argument("<repo>", "org/name on the Hub, or a directory with safetensors files")
		.requiredOption("--out <dir>", "directory of the checkpoint")
		.option("--overwrite", "replace a finished checkpoint in --out");
	return addConversionFlags(command)
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp meta-llama/Llama-4-Scout-17B-16E --out /ckpt/step-0 --dp-shard 64 --tp 8 --ep 16",
				"hf-stream-dcp ./my-model --out ./ckpt --target hf --dp-shard 8",
				"hf-stream-dcp Qwen/Qwen3-8B --out ./ckpt --parallelism.tensor_parallel_degree=4 --world-size 16",
			]),
		)
		.addHelpText("after", referenceHelp)
		.action(async (repo: string, values: FlagValues) => {
			const input = {
				...readConversionFlags(repo, values),
				out: expandHome(String(values["out"]), io.env),
				overwrite: values["overwrite"] ?? false,
				environment: io.env,
			};
			await runConvert(io, parseConvertOptions(input), values);
		});
}

/** Converts with a progress display, Ctrl-C and a summary; the code path of the main command and of the demo. */
export async function runConvert(
	io: CliIo,
	options: ConvertOptions,
	values: FlagValues,
): Promise<ConvertSummary | FoundSummary> {
	const format = values["logFormat"] as LogFormat;
	const progress = createProgress(io, { format, quiet: values["quiet"] === true });
	using interrupts = watchInterrupts(io, () => {
		progress.warn(
			"stopping after what is being written. The same command continues from here; press Ctrl-C again to stop at once.",
		);
	});
	let summary: ConvertSummary | FoundSummary;
	try {
		summary = await convert({ ...options, signal: interrupts.signal, onEvent: progress.onEvent });
	} finally {
		progress.stop();
	}
	if (format === "json") io.stdout.write(summaryJson(summary));
	else if (summary.outcome === "found") io.stdout.write(`${summary.directory} is finished\n`);
	else io.stdout.write(`${renderSummary(summary, options)}\n`);
	return summary;
}

function summaryJson(summary: ConvertSummary | FoundSummary): string {
	if (summary.outcome === "found") return `${JSON.stringify(summary)}\n`;
	const { plan, totals, ...rest } = summary;
	const { source, family, target, layout, worldSize } = plan;
	const { repo, commit } = source;
	return `${JSON.stringify({ ...rest, repo, commit, family, target, layout, worldSize, totals })}\n`;
}
