import { Argument, type Command } from "commander";
import {
	builtInFamily,
	checkFamily,
	type FamilyReport,
	HfStreamDcpError,
	listFamilies,
	parseConversionOptions,
} from "../../index.ts";
import { familyJson } from "../family-json.ts";
import { addFamilyFlags, addLogFlags, type FlagValues, readFamilyFlags } from "../flags.ts";
import { examplesHelp, referenceHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";
import { openProgress } from "../open-progress.ts";
import { renderFamilyReport } from "../render-family.ts";
import { namesOf, suggest } from "../suggestions.ts";

/** Adds `family`, which lists, prints and proves families. */
export function addFamilyCommand(program: Command, io: CliIo): void {
	const family = program
		.command("family")
		.usage("<check|show|list> [flags]")
		.summary("prove a model family against a repository's headers; print one to start from")
		.description(
			"A family says how the tensors of a Hugging Face export become those of a trainer. Any command takes one of\nyour own: --family ./my-family.json.",
		)
		.helpCommand(false);
	addCheckCommand(family, io);
	addShowCommand(family, io);
	family
		.command("list")
		.summary("list the built-in families")
		.description("List the built-in families.")
		.addHelpText("after", examplesHelp(["hf-stream-dcp family list"]))
		.action(() => {
			io.stdout.write(`${listFamilies().join("\n")}\n`);
		});
	family.addHelpText(
		"after",
		examplesHelp([
			"hf-stream-dcp family show llama3 > my-family.json",
			"hf-stream-dcp family check org/name --family ./my-family.json",
		]),
	);
}

function addCheckCommand(family: Command, io: CliIo): void {
	const command = family
		.command("check")
		.usage("<repo|directory> [flags]")
		.summary("prove a family against the headers of a repository; exit code 0 or 4")
		.description(
			"Prove a family against the headers of a repository; no weight is fetched. Every source tensor must be used, each\nelement once, or be tied or dropped by a rule; every target made once, in the shape that config.json says.",
		)
		.argument("<repo>", "org/name on the Hub, or a directory with safetensors files")
		.option("--json", "the whole report as JSON");
	addLogFlags(addFamilyFlags(command))
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp family check org/name --family ./my-family.json",
				"hf-stream-dcp family check Qwen/Qwen3-8B --target torchtitan@2026-06 --json",
			]),
		)
		.addHelpText("after", referenceHelp)
		.action((repo: string, values: FlagValues) => runCheck(io, repo, values));
}

function addShowCommand(family: Command, io: CliIo): void {
	family
		.command("show")
		.usage("<name>")
		.summary("print a built-in family as JSON, to start one of your own from")
		.description(
			"Print a built-in family as JSON. Given back with --family it makes the same plan.",
		)
		.addArgument(
			suggest(new Argument("<name>", "name of a built-in family"), () => namesOf(listFamilies())),
		)
		.addHelpText("after", examplesHelp(["hf-stream-dcp family show llama4 > my-family.json"]))
		.action((name: string) => {
			io.stdout.write(`${familyJson(builtInFamily(name))}\n`);
		});
}

async function runCheck(io: CliIo, repo: string, values: FlagValues): Promise<void> {
	const options = parseConversionOptions({
		repo,
		...readFamilyFlags(values, io.env),
		environment: io.env,
	});
	const progress = openProgress(io, values);
	using interrupts = watchInterrupts(io, { onFirst: () => progress.warn("stopping") });
	let report: FamilyReport;
	try {
		const { signal } = interrupts;
		report = await checkFamily({ ...options, signal, onEvent: progress.onEvent });
	} finally {
		progress.stop();
	}
	report.warnings.forEach(progress.warn);
	const { family } = options;
	io.stdout.write(
		values["json"] === true
			? `${JSON.stringify(report, undefined, "\t")}\n`
			: `${renderFamilyReport(report, typeof family === "string" ? family : undefined)}\n`,
	);
	const [first] = report.problems;
	if (first === undefined) return;
	const name =
		report.family === undefined ? "no family fits" : `family ${report.family} does not fit`;
	throw new HfStreamDcpError(first.code, `${name} ${repo}; the report says why`);
}
