import { withDescendants } from "../../dist/src/cli/program-facts.js";
import { groupsOf, ownFlags, spelling } from "./flag-tables.mjs";

/** Text for roff: ASCII only, no control line, dashes that can be copied. */
function roff(text) {
	return text
		.replaceAll("\\", "\\e")
		.replaceAll("-", "\\-")
		.replaceAll(/[^\p{ASCII}]/gu, (char) => {
			const code = char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
			return `\\[u${code}]`;
		})
		.replaceAll(/^(?=[.'])/gm, "\\&");
}

/** Markdown of a table cell as roff: code is bold, links are their text. */
function inline(markdown) {
	return markdown
		.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
		.split("`")
		.map((part, index) => (index % 2 === 1 ? `\\fB${roff(part)}\\fR` : roff(part)))
		.join("");
}

const tagged = (tag, text) => `.TP\n${tag}\n${text}`;

function flagLines(flags) {
	return [...groupsOf(flags)].flatMap(([group, members]) => [
		".PP",
		roff(group),
		...members.map((flag) => tagged(`.B ${roff(spelling(flag))}`, roff(flag.description))),
	]);
}

function commandLines(program, command) {
	const { path, usage, description, commands } = command;
	const { own, shared } = ownFlags(program, command);
	return [
		`.SS ${roff(path.join(" "))}`,
		`.B hf\\-stream\\-dcp ${roff(path.join(" "))}`,
		roff(usage.split("\n")[0]),
		".PP",
		roff(description),
		...(commands.length > 0 ? [] : flagLines(own)),
		...(shared.length === 0 ? [] : [".PP", roff(`As of convert: ${shared.join(", ")}.`)]),
	];
}

const EXITS = [
	["0", "done: the checkpoint is whole, or this worker's part is and others do the rest"],
	["1", "a bug in this program"],
	["2", "a flag, or an option, has no meaning"],
	["3", "the source or the network"],
	["4", "the plan: names, layout or memory"],
	["5", "the output"],
	["6", "a checkpoint is damaged"],
	["7", "no GPU for --device webgpu"],
	["130", "stopped by Ctrl-C; the same command continues"],
	["143", "stopped by SIGTERM; the same command continues"],
];

const FILES = [
	["OUT/.metadata", "which tensors there are and where each chunk lies; put in place last"],
	["OUT/__{rank}_{n}.distcp", "chunks"],
	["OUT/summary.json", "what the job did"],
	["OUT/.hf-stream-dcp/", "only while a conversion is unfinished: what is done, and who does what"],
];

/** The manual page, for man macros. */
export function renderManPage({ program, examples, environment, version }) {
	const commands = withDescendants(program).filter(({ path }) => path.length > 0);
	const lines = [
		'.\\" Made by npm run build:reference from the definitions of the commands.',
		`.TH HF\\-STREAM\\-DCP 1 "" "hf\\-stream\\-dcp ${roff(version)}" "User Commands"`,
		".SH NAME",
		"hf\\-stream\\-dcp \\- stream a Hugging Face model into a PyTorch Distributed Checkpoint",
		".SH SYNOPSIS",
		".B hf\\-stream\\-dcp",
		roff("<repo|directory> --out DIR [flags]"),
		".br",
		".B hf\\-stream\\-dcp",
		".I command",
		"[flags]",
		".SH DESCRIPTION",
		roff(program.description),
		roff("The first form is that of the command convert."),
		".SH COMMANDS",
		...commands.flatMap((command) => commandLines(program, command)),
		".SH EXIT STATUS",
		...EXITS.map(([code, text]) => tagged(`.B ${code}`, roff(text))),
		".SH ENVIRONMENT",
		...environment.map(([names, meaning]) => tagged(inline(names), inline(meaning))),
		".SH FILES",
		...FILES.map(([name, text]) => tagged(`.I ${roff(name)}`, roff(text))),
		".SH EXAMPLES",
		".nf",
		...commands.flatMap(({ path }) => examples.get(path.join(" "))).map(roff),
		".fi",
		".SH SEE ALSO",
		roff(
			"The pages below docs/ of the package: cli.md, families.md, layouts.md, cluster.md, errors.md.",
		),
	];
	return `${lines.join("\n")}\n`;
}
