import { Command } from "commander";
import { VERSION } from "../index.ts";
import { addCompletionCommand } from "./commands/completion-command.ts";
import { addConvertCommand } from "./commands/convert-command.ts";
import { addDemoCommand } from "./commands/demo-command.ts";
import { addDoctorCommand } from "./commands/doctor-command.ts";
import { addExportCommand } from "./commands/export-command.ts";
import { addFamilyCommand } from "./commands/family-command.ts";
import { addInspectCommand } from "./commands/inspect-command.ts";
import { addLintCommand } from "./commands/lint-command.ts";
import { addPlanCommand } from "./commands/plan-command.ts";
import { addVerifyCommand } from "./commands/verify-command.ts";
import { addReportCommand } from "./commands/report-command.ts";
import { normaliseArguments } from "./mesh-flags.ts";
import { examplesHelp, referenceHelp } from "./help.ts";
import type { CliIo } from "./io.ts";
import type { LogFormat } from "./progress.ts";
import { renderError } from "./render-error.ts";

/** The commands and their flags. */
export function createProgram(io: CliIo, format: LogFormat = "text"): Command {
	const program = new Command("hf-stream-dcp")
		.usage("<repo|directory> --out DIR [flags]\n       hf-stream-dcp [command] [flags]")
		.description(
			"Stream a Hugging Face model into a PyTorch Distributed Checkpoint that is already cut\nfor the training job that will load it.",
		)
		.version(VERSION, "--version", "print the version")
		.helpOption("-h, --help", "print help for a command")
		.helpCommand("help [command]", "print help for a command")
		.showSuggestionAfterError()
		.showHelpAfterError("Try --help.")
		.exitOverride()
		.configureOutput({
			writeOut: (text) => io.stdout.write(text),
			writeErr: (text) => format === "text" && io.stderr.write(text),
			getOutHelpWidth: () => io.stdout.columns ?? 100,
			getErrHelpWidth: () => io.stderr.columns ?? 100,
			getOutHasColors: () => false,
			getErrHasColors: () => false,
		});
	const convert = addConvertCommand(program, io);
	addPlanCommand(program, io);
	addInspectCommand(program, io);
	addVerifyCommand(program, io);
	addReportCommand(program, io);
	addLintCommand(program, io);
	addExportCommand(program, io);
	addFamilyCommand(program, io);
	addDoctorCommand(program, io);
	addDemoCommand(program, io);
	addCompletionCommand(program, io, convert.name());
	const examples = examplesHelp([
		"hf-stream-dcp plan Qwen/Qwen3-8B --dp-shard 8 --tp 2",
		"hf-stream-dcp Qwen/Qwen3-8B --out ./ckpt --dp-shard 8 --tp 2",
		"hf-stream-dcp inspect ./ckpt",
	]);
	return program
		.addHelpText("after", examples)
		.addHelpText("after", () => `${flagsHelp(convert)}${referenceHelp()}`);
}

/** The flags of `command` as its own help lists them. */
function flagsHelp(command: Command): string {
	const help = command.helpInformation();
	return `Flags of a conversion:\n${help.slice(help.indexOf("\n", help.indexOf("\nOptions:") + 1) + 1)}`;
}

function logFormatOf(argv: readonly string[]): LogFormat {
	const flag = argv.findLastIndex((argument) => argument.startsWith("--log-format"));
	return argv[flag] === "--log-format=json" ||
		(argv[flag] === "--log-format" && argv[flag + 1] === "json")
		? "json"
		: "text";
}

/**
 * Runs one command line.
 *
 * @param argv - Arguments after the program's name.
 * @returns The exit code; nothing is thrown.
 */
export async function main(argv: readonly string[], io: CliIo): Promise<number> {
	const format = logFormatOf(argv);
	const program = createProgram(io, format);
	try {
		if (argv.length === 0) {
			io.stderr.write(program.helpInformation());
			return 2;
		}
		await program.parseAsync(normaliseArguments(argv), { from: "user" });
		return 0;
	} catch (error) {
		const { text, exitCode } = renderError(error, format);
		if (text !== "") io.stderr.write(text);
		return exitCode;
	}
}
