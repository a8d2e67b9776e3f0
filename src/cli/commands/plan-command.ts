import type { Command } from "commander";
import {
	parseConversionOptions,
	prepareConversion,
	type PrepareOptions,
	reportOfPlan,
	writeReport,
} from "../../index.ts";
import { pathFlag } from "../path-flag.ts";
import { addConversionFlags, type FlagValues, readConversionFlags } from "../flags.ts";
import { readCount } from "../number-flags.ts";
import { examplesHelp, referenceHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { planJson, renderPlan } from "../render-plan.ts";

/** Adds `plan`, which shows what a conversion would do. */
export function addPlanCommand(program: Command, io: CliIo): void {
	const command = program
		.command("plan")
		.usage("<repo|directory> [flags]")
		.summary("show what a conversion would fetch and write; reads headers only")
		.description(
			"Show what a conversion would fetch and write. Reads headers, never a weight byte.",
		)
		.argument("<repo>", "org/name on the Hub, or a directory with safetensors files")
		.option("--workers <n>", "plan for a job of n workers (default: 1)")
		.option("--local-output", "every worker writes what its ranks hold, to a disk of its own")
		.option("--html <file>", "write a report to look at: one page that needs no network")
		.option("--json", "the whole plan as JSON, the same bytes on every run");
	addConversionFlags(command)
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp plan meta-llama/Llama-4-Scout-17B-16E --dp-shard 64 --tp 8 --ep 16",
				"hf-stream-dcp plan Qwen/Qwen3-8B --dp-shard 8 --json > plan.json",
				"hf-stream-dcp plan meta-llama/Llama-3.1-405B --dp-shard 128 --tp 8 --workers 64",
				"hf-stream-dcp plan Qwen/Qwen3-30B-A3B --dp-shard 8 --tp 4 --ep 8 --html plan.html",
			]),
		)
		.addHelpText("after", referenceHelp)
		.action(async (repo: string, values: FlagValues) => {
			const options = parseConversionOptions({
				...readConversionFlags(repo, values, io.env),
				environment: io.env,
			});
			await runPlanCommand(
				io,
				{
					...options,
					workers: readCount("--workers", values["workers"]),
					localOutput: values["localOutput"] === true,
				},
				values,
			);
		});
}

async function runPlanCommand(
	io: CliIo,
	options: PrepareOptions,
	values: FlagValues,
): Promise<void> {
	const html = pathFlag("--html", values["html"], io.env);
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		await using preparation = await prepareConversion({
			...options,
			signal: interrupts.signal,
			onEvent: progress.onEvent,
		});
		if (html !== undefined) await writeReport(reportOfPlan(preparation), html);
		progress.stop();
		if (values["json"] === true) {
			for (const piece of planJson(preparation)) io.stdout.write(piece);
		} else {
			io.stdout.write(`${renderPlan(preparation)}\n`);
			if (html !== undefined) io.stdout.write(`\nreport: ${html}\n`);
		}
	} finally {
		progress.stop();
	}
}
