import type { Command } from "commander";
import { HfStreamDcpError, verifyCheckpoint, type VerifyLevel } from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { readCount } from "../number-flags.ts";
import { openProgress } from "../open-progress.ts";
import { readLimit } from "../read-limit.ts";
import { adviceFor, renderVerify } from "../render-verify.ts";
import { addComparisonFlags, COMPARISON_EXAMPLES, runComparison } from "./verify-against.ts";

/** Problems that are shown when `--limit` is not given. */
const DEFAULT_LIMIT = 20;

/** Adds `verify`, which finds out whether a checkpoint is what was written. */
export function addVerifyCommand(program: Command, io: CliIo): void {
	const command = program
		.command("verify")
		.usage("<directory> [flags]")
		.summary("find out whether a checkpoint is whole and what was written")
		.description(
			"Find out whether a DCP directory (ours or torch's) is whole and what was written: its structure, and every byte\nof it against its checksums. Nothing in it is executed. Exit code 6 when something is wrong.",
		)
		.argument("<directory>", "the directory with .metadata")
		.option("--quick", "the structure alone: seconds for any size")
		.option("--hashes", "also every entry against its SHA-256 in the manifest")
		.option("--threads <n>", "threads that read and compare, or auto (default: auto)")
		.option("--limit <n>", `problems that are shown, 0 for all (default: ${DEFAULT_LIMIT})`)
		.option("--json", "the report, as JSON");
	addLogFlags(addComparisonFlags(command))
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp verify /ckpt/step-0",
				"hf-stream-dcp verify /ckpt/step-0 --quick && torchrun … train.py",
				"hf-stream-dcp verify /ckpt/step-0 --hashes --json > report.json",
				...COMPARISON_EXAMPLES,
			]),
		)
		.addHelpText("after", exitCodeHelp())
		.action((directory: string, values: FlagValues) =>
			runVerify(io, expandHome(directory, io.env), values),
		);
}

async function runVerify(io: CliIo, directory: string, values: FlagValues): Promise<void> {
	const limit = readLimit(values["limit"], DEFAULT_LIMIT);
	if (await runComparison(io, directory, values, limit)) return;
	const level = levelOf(values);
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		const report = await verifyCheckpoint({
			directory,
			level,
			threads: readThreads(values["threads"]),
			signal: interrupts.signal,
			onProgress: ({ checkedBytes, totalBytes, checkedEntries, entries }) =>
				progress.show({
					phase: "stream",
					receivedBytes: checkedBytes,
					writtenBytes: 0,
					entriesDone: checkedEntries,
					resumedEntries: 0,
					totals: { fetchBytes: totalBytes, entries },
				}),
		});
		progress.stop();
		const text =
			values["json"] === true
				? JSON.stringify(report, undefined, "\t")
				: renderVerify(report, limit);
		io.stdout.write(`${text}\n`);
		if (report.isGood) return;
		const many = report.problemCount === 1 ? "1 problem" : `${report.problemCount} problems`;
		throw new HfStreamDcpError("CHECKPOINT_CORRUPT", `${directory} is damaged: ${many}`, {
			hint: adviceFor(report),
			facts: { directory, problems: report.problemCount },
		});
	} finally {
		progress.stop();
	}
}

function readThreads(text: unknown): number | "auto" {
	return text === "auto" ? "auto" : (readCount("--threads", text) ?? "auto");
}

/** `runComparison` has refused several of them. */
function levelOf(values: FlagValues): VerifyLevel {
	if (values["quick"] === true) return "quick";
	return values["hashes"] === true ? "hashes" : "data";
}
