// Makes what is told twice of one definition: the manual page, and the tables of flags in docs/cli.md, from the commands of the built program.
//
//   node scripts/build-reference.mjs            writes both
//   node scripts/build-reference.mjs --check    exits with 1 when one of them is not up to date
import { readFile, writeFile } from "node:fs/promises";
import { createProgram, main } from "../dist/src/cli/main.js";
import { programFacts, withDescendants } from "../dist/src/cli/program-facts.js";
import { VERSION } from "../dist/src/index.js";
import { renderFlagTables } from "./reference/flag-tables.mjs";
import { renderManPage } from "./reference/man-page.mjs";

const ROOT = new URL("../", import.meta.url);
const BEGIN = "<!-- flags: made by npm run build:reference -->";
const END = "<!-- end of flags -->";

/** A process that is none: what is written is kept. */
function silentIo() {
	const written = [];
	const sink = { write: (text) => written.push(text), columns: 1_000_000 };
	const io = { stdout: sink, stderr: sink, env: {}, isLocalWorker: false };
	return { io, written };
}

async function examplesOf(path) {
	const { io, written } = silentIo();
	await main([...path, "--help"], io);
	const [, examples = ""] = /\nExamples:\n((?: {2}.*\n)+)/.exec(written.join("")) ?? [];
	return examples.split("\n").flatMap((line) => (line === "" ? [] : [line.trim()]));
}

/** Variable → meaning, of docs/environment.md. */
async function environmentRows() {
	const page = await readFile(new URL("docs/environment.md", ROOT), "utf8");
	return [...page.matchAll(/^\| (`.*?) \| (.*) \|$/gm)].map(([, names, meaning]) => [
		names,
		meaning,
	]);
}

const program = programFacts(createProgram(silentIo().io), "convert");
const examples = new Map();
for (const { path } of withDescendants(program)) {
	examples.set(path.join(" "), await examplesOf(path));
}

const cli = new URL("docs/cli.md", ROOT);
const page = await readFile(cli, "utf8");
const [before, after] = [page.split(BEGIN)[0], page.split(END)[1]];
const made = [
	[
		new URL("man/hf-stream-dcp.1", ROOT),
		renderManPage({ program, examples, environment: await environmentRows(), version: VERSION }),
	],
	[cli, `${before}${BEGIN}\n\n${renderFlagTables(program)}\n\n${END}${after}`],
];

for (const [file, text] of made) {
	if (!process.argv.includes("--check")) await writeFile(file, text);
	else if ((await readFile(file, "utf8").catch(() => "")) !== text) {
		process.stderr.write(
			`${file.pathname} is not up to date: npm run build && npm run build:reference\n`,
		);
		process.exitCode = 1;
	}
}
