import type { Command } from "commander";
import {
	HfStreamDcpError,
	lintCheckpoint,
	type LintReport,
	parseLintOptions,
} from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import {
	addFamilyFlags,
	addLogFlags,
	type FlagValues,
	readFamilyFlags,
	withValues,
} from "../flags.ts";
import { addMeshFlags, readLayoutFlags } from "../mesh-flags.ts";
import { examplesHelp, referenceHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { renderLint } from "../render-lint.ts";

/** Adds `lint`, which says what loading a checkpoint would cost a job, and whether it would work. */
export function addLintCommand(program: Command, io: CliIo): void {
	const command = program
		.command("lint")
		.usage("<directory> [flags]")
		.summary("say what loading a checkpoint on a mesh would cost, and whether it would work")
		.description(
			"Say what torch would read on every rank of a job that loads a checkpoint, and what would fail or\ngo wrong without a word. For any DCP directory; no tensor data is read. Without a mesh\nor a --target: those that it was made for.",
		)
		.argument("<directory>", "a directory with .metadata and .distcp files")
		.option("--model <repo|dir>", "the trainer's keys, shapes and dtypes are those of this model")
		.option("--prefix <text>", "what stands before the model's keys, such as model.")
		.option("--max-amplification <x>", "fail when a rank reads more than x times what it needs")
		.option("--rank <n>", "show one rank, tensor by tensor")
		.option(
			"--read-buffer <size>",
			"of Python's file reader (default: the file system's block size)",
		)
		.option("--json", "everything, as JSON");
	addFamilyFlags(command).addOption(
		withValues("--dtype <dtype>", "of the trainer's parameters (default: as stored)", [
			"bfloat16",
			"float16",
			"float32",
		]),
	);
	addLogFlags(addMeshFlags(command))
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp lint /ckpt/step-0",
				"hf-stream-dcp lint /ckpt/step-0 --dp-shard 64 --tp 8 --max-amplification 1.1",
				"hf-stream-dcp lint /ckpt/step-1000 --like /ckpt/other-job/step-1",
				"hf-stream-dcp lint /ckpt/step-0 --model Qwen/Qwen3-8B --target torchtitan --dp-shard 8 --dtype float32",
				"hf-stream-dcp lint /ckpt/step-0 --dp-shard 16 --rank 3 --json",
			]),
		)
		.addHelpText("after", referenceHelp)
		.action((directory: string, values: FlagValues) => runLint(io, directory, values));
}

async function runLint(io: CliIo, directory: string, values: FlagValues): Promise<void> {
	const options = parseLintOptions({ ...readFlags(directory, values, io), environment: io.env });
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		const report = await lintCheckpoint({
			...options,
			signal: interrupts.signal,
			onEvent: progress.onEvent,
		});
		progress.stop();
		io.stdout.write(
			values["json"] === true
				? `${JSON.stringify(report, undefined, "\t")}\n`
				: `${renderLint(report, options.rank)}\n`,
		);
		if (!report.isFit) throw unfit(report);
	} finally {
		progress.stop();
	}
}

function readFlags(directory: string, values: FlagValues, { env }: CliIo): object {
	const path = (value: unknown): unknown =>
		typeof value === "string" ? expandHome(value, env) : value;
	return {
		directory: expandHome(directory, env),
		model: path(values["model"]),
		...readFamilyFlags(values, env),
		dtype: values["dtype"],
		prefix: values["prefix"],
		maxAmplification: values["maxAmplification"],
		rank: values["rank"],
		readBufferBytes: values["readBuffer"],
		like: path(values["like"]),
		layout: path(values["layout"]),
		parallelism: readLayoutFlags(values),
	};
}

function unfit({ directory, findings }: LintReport): HfStreamDcpError {
	const errors = findings.filter(({ severity }) => severity === "error");
	const messages = errors.map(({ message }) => message);
	return new HfStreamDcpError("CHECKPOINT_UNFIT", `${directory}: ${messages.join("; ")}`, {
		hint: errors[0]?.hint,
		facts: { directory, findings: errors },
	});
}
