import { resolve } from "node:path";
import type { Command } from "commander";
import { HfStreamDcpError, reportOfCheckpoint, writeReport } from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { formatCount } from "../format.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { pathFlag } from "../path-flag.ts";
import { recordJson } from "../record-json.ts";

/** Adds `report`, which makes a page of a finished checkpoint. */
export function addReportCommand(program: Command, io: CliIo): void {
	const command = program
		.command("report")
		.usage("<directory> --html FILE [flags]")
		.summary("make a page of a checkpoint: who holds what, bytes, the time line")
		.description(
			"Make one HTML page of a finished checkpoint: the mesh and who holds what, bytes per rank and worker, the time line, dropped\nand tied names. The page needs no network. Of a directory that something else wrote, it shows what .metadata says.\nNothing in a checkpoint is executed, and no weights are read.",
		)
		.argument("<directory>", "a checkpoint: a directory with .metadata")
		.option("--html <file>", "write the page here; a file that is there is replaced")
		.option("--json", "what the page shows, as JSON");
	addLogFlags(command)
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp report /ckpt/step-0 --html report.html",
				"hf-stream-dcp report /ckpt/step-0 --json > report.json",
			]),
		)
		.addHelpText("after", exitCodeHelp())
		.action((directory: string, values: FlagValues) => runReport(io, directory, values));
}

async function runReport(io: CliIo, argument: string, values: FlagValues): Promise<void> {
	const html = pathFlag("--html", values["html"], io.env);
	const isJson = values["json"] === true;
	if (html === undefined && !isJson) {
		throw new HfStreamDcpError("OPTIONS_INVALID", "report makes a page: where is it to go?", {
			hint: "Give --html report.html, or --json for what it would show.",
		});
	}
	const directory = resolve(expandHome(argument, io.env));
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	try {
		const data = await reportOfCheckpoint(directory);
		interrupts.signal.throwIfAborted();
		if (html !== undefined) await writeReport(data, html);
		progress.stop();
		data.problems.forEach(progress.warn);
		if (isJson) {
			for (const piece of recordJson(data)) io.stdout.write(piece);
		} else {
			const { totals, tensors } = data;
			io.stdout.write(
				`report: ${html ?? ""}\n${formatCount(tensors.length)} tensors, ${formatCount(totals.entries)} entries\n`,
			);
		}
	} finally {
		progress.stop();
	}
}
