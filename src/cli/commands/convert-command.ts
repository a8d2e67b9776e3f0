import type { Command } from "commander";
import {
	convert,
	type ConvertOptions,
	type ConvertSummary,
	type FoundSummary,
	HfStreamDcpError,
	identifyWorker,
	type LaunchedWorker,
	parseConvertOptions,
} from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import { addConversionFlags, type FlagValues, readConversionFlags } from "../flags.ts";
import { readCount, readSeconds } from "../number-flags.ts";
import { addWorkerFlags } from "../worker-flags.ts";
import { formatDuration } from "../format.ts";
import { examplesHelp, referenceHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { passedFlags } from "../local-workers/child-flags.ts";
import { openProgress } from "../open-progress.ts";
import { renderSummary } from "../render-summary.ts";
import { runLocalJob } from "./local-job.ts";

/** Default of `--grace`: less than what SLURM and Kubernetes grant, 30 s. */
const DEFAULT_GRACE_MS = 20_000;

/** Most workers that one process starts: beyond the cores of any machine. */
const MOST_LOCAL_WORKERS = 1024;

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
		.option("--hash <hash>", "of each entry, in the manifest: sha256 or none (default: sha256)")
		.option("--overwrite", "replace a finished checkpoint in --out");
	return addWorkerFlags(addConversionFlags(command))
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp meta-llama/Llama-4-Scout-17B-16E --out /ckpt/step-0 --dp-shard 64 --tp 8 --ep 16",
				"hf-stream-dcp ./my-model --out ./ckpt --target hf --dp-shard 8",
				"hf-stream-dcp Qwen/Qwen3-8B --out ./ckpt --parallelism.tensor_parallel_degree=4 --world-size 16",
				"hf-stream-dcp Qwen/Qwen3-8B --out /ckpt/step-0 --like /ckpt/step-1",
				"hf-stream-dcp Qwen/Qwen3-8B --out /shared/ckpt --dp-shard 8 --workers 4",
				"srun hf-stream-dcp Qwen/Qwen3-8B --out /shared/ckpt --dp-shard 8",
			]),
		)
		.addHelpText("after", referenceHelp)
		.action(async (repo: string, values: FlagValues) => {
			const workers = readCount("--workers", values["workers"]);
			const worker = identifyWorker(io.env, {
				worker: values["worker"] as string | undefined,
				workers,
				isTerminal: io.stderr.isTTY === true,
			});
			const options = readOptions(io, repo, values, worker);
			assertFlagsAgree(options, workers);
			if (workers !== undefined && workers > 1) {
				const args = ["convert", repo, ...passedFlags(command)];
				const graceMs = readGrace(values);
				await runLocalJob(io, { options, values, workers, args, graceMs });
			} else await runConvert(io, options, values, worker);
		});
}

function readOptions(
	io: CliIo,
	repo: string,
	values: FlagValues,
	{ index, count, local, isBound = false }: LaunchedWorker,
): ConvertOptions {
	return parseConvertOptions({
		...readConversionFlags(repo, values, io.env),
		out: expandHome(String(values["out"]), io.env),
		hash: values["hash"],
		overwrite: values["overwrite"] ?? false,
		worker: { index, count },
		localWorkers: isBound ? 1 : local?.count,
		takeover: values["takeover"],
		leaseSeconds: values["lease"],
		localOutput: values["localOutput"],
		ranks: values["ranks"],
		environment: io.env,
	});
}

/** @throws {HfStreamDcpError} `OPTIONS_INVALID` for flags that contradict one another. */
function assertFlagsAgree({ localOutput, ranks }: ConvertOptions, workers = 1): void {
	if (ranks !== undefined && !localOutput) {
		throw new HfStreamDcpError("OPTIONS_INVALID", "--ranks is for --local-output", {
			hint: "Workers that share a directory share the work; nobody stands for ranks there.",
		});
	}
	if (workers > MOST_LOCAL_WORKERS) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`--workers ${workers}: one machine runs at most ${MOST_LOCAL_WORKERS}`,
			{ hint: "Workers on several machines are started by a launcher, or with --worker i/n." },
		);
	}
	if (localOutput && workers > 1) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			"--workers and --local-output: the workers of one machine share its disks",
			{ hint: "Start one worker for each machine, with --worker or by a launcher." },
		);
	}
}

function readGrace(values: FlagValues): number {
	return readSeconds("--grace", values["grace"]) ?? DEFAULT_GRACE_MS;
}

/** Converts with a progress display, signals and a summary; the code path of the main command and of the demo. */
export async function runConvert(
	io: CliIo,
	options: ConvertOptions,
	values: FlagValues,
	worker?: LaunchedWorker,
): Promise<ConvertSummary | FoundSummary> {
	const progress = openProgress(io, values, options.worker);
	const graceMs = readGrace(values);
	using interrupts = watchInterrupts(io, {
		graceMs,
		onFirst: (signal) => progress.warn(stoppingMessage(signal, graceMs)),
	});
	let summary: ConvertSummary | FoundSummary;
	try {
		summary = await convert({ ...options, signal: interrupts.signal, onEvent: progress.onEvent });
	} finally {
		progress.stop();
	}
	io.stdout.write(
		values["logFormat"] === "json"
			? summaryJson(summary, options, worker)
			: `${renderSummary(summary, options, worker)}\n`,
	);
	return summary;
}

function stoppingMessage(signal: string, graceMs: number): string {
	const rest =
		signal === "SIGINT"
			? "press Ctrl-C again to stop at once"
			: `it ends in ${formatDuration(graceMs / 1000)} at the latest`;
	return `stopping after what is being written. The same command continues from here; ${rest}.`;
}

function summaryJson(
	summary: ConvertSummary | FoundSummary,
	{ worker: { index, count } }: ConvertOptions,
	worker: LaunchedWorker | undefined,
): string {
	const place = { index, count, launcher: worker?.launcher ?? "alone" };
	if (summary.outcome === "found") return `${JSON.stringify({ ...summary, worker: place })}\n`;
	const { plan, totals, ...rest } = summary;
	const { source, family, target, layout, worldSize } = plan;
	const { repo, commit } = source;
	const facts = { repo, commit, family, target, layout, worldSize, totals };
	return `${JSON.stringify({ ...rest, worker: place, ...facts })}\n`;
}
