// What planning costs for the largest public models: time, memory, the size of `.metadata`, and what torch needs to read it.
//
//   npm run build && npm run bench:plan [-- --quick]
//
// `--quick` plans each model once and for one worker.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { median } from "./lib/pairs.mjs";
import { formatRows, makeRow, makeSkip, writeResults } from "./lib/results.mjs";
import { runMeasured } from "./lib/run.mjs";
import { scratchFolder } from "./lib/scratch.mjs";
import { readSettings, resultName, say } from "./lib/settings.mjs";
import { findPython } from "./lib/tools.mjs";

const settings = readSettings();
const rounds = settings.rounds ?? (settings.isQuick ? 1 : 3);
const shares = settings.isQuick ? [1] : [1, 64];
const here = (name) => fileURLToPath(new URL(`plan/${name}`, import.meta.url));
const CASES = JSON.parse(readFileSync(here("cases.json"), "utf8"));

const SECONDS_GOAL = "<= 60";
const MEMORY_GOAL = "<= 1500";

/** Plans one case in a process of its own, some times. */
async function planCase(name, count, file) {
	const runs = [];
	for (let round = 0; round < rounds; round++) {
		const { stdout } = await runMeasured(process.execPath, [
			"--expose-gc",
			here("case.mjs"),
			name,
			String(count),
			file,
		]);
		runs.push(JSON.parse(stdout));
	}
	return runs;
}

function planRows(name, count, runs) {
	const of = (what) => runs.map(({ steps }) => steps[what].seconds);
	const cpuSeconds = runs.map(({ steps }) => steps.plan.cpuSeconds);
	const figure = (what) => `${name} ranks, ${count} ${count === 1 ? "worker" : "workers"}: ${what}`;
	const peaks = runs.map(({ steps }) => steps.metadata.peakBytes / 1e6);
	const [{ facts }] = runs;
	const row = (what, unit, values, goal = null) =>
		makeRow({ figure: figure(what), value: median(values), unit, goal, runs: values });
	const fact = (what, unit, value) => makeRow({ figure: figure(what), value, unit, runs: [value] });
	return [
		row("plan", "s", of("plan"), SECONDS_GOAL),
		row("plan, CPU of all threads", "s", cpuSeconds),
		row("plan id", "s", of("identity")),
		row("encode .metadata", "s", of("metadata")),
		row("peak memory of all that", "MB", peaks, MEMORY_GOAL),
		row(
			"plan, CPU per entry",
			"µs",
			cpuSeconds.map((seconds) => (seconds * 1e6) / facts.entries),
		),
		fact("entries", "", facts.entries),
		fact("entries more, to balance the workers", "", facts.entriesCut),
		fact("files", "", facts.files),
		fact("requests for weights and scales", "", facts.requests),
		fact("heaviest worker over the mean", "", facts.unevenness),
		fact(".metadata", "MB", facts.metadataBytes / 1e6),
	];
}

async function torchRows(name, file, python) {
	const figure = (what) => `${name} ranks: torch, ${what}`;
	if (python.skip !== undefined) return [makeSkip(figure("unpickle .metadata"), python.skip)];
	const runs = [];
	for (let round = 0; round < rounds; round++) {
		const { stdout } = await runMeasured(python.path, [here("unpickle.py"), file]);
		runs.push(JSON.parse(stdout));
	}
	const seconds = runs.map((run) => run.seconds);
	const megabytes = runs.map((run) => run.bytes / 1e6);
	return [
		makeRow({
			figure: figure("unpickle .metadata"),
			value: median(seconds),
			unit: "s",
			runs: seconds,
		}),
		makeRow({
			figure: figure("memory of .metadata"),
			value: median(megabytes),
			unit: "MB",
			runs: megabytes,
		}),
	];
}

const python = findPython(["torch"]);
const scratch = await scratchFolder();
const rows = [];
for (const name of Object.keys(CASES)) {
	for (const count of shares) {
		say(`${name} ranks, ${count} workers`);
		const file = join(scratch.path, "metadata");
		rows.push(...planRows(name, count, await planCase(name, count, file)));
		if (count === 1) rows.push(...(await torchRows(name, file, python)));
	}
}
await scratch.remove();
say(formatRows(rows));
await writeResults(
	resultName("plan", settings),
	"What planning costs for the largest public models, and what torch needs to read the .metadata",
	rows,
	{ python: python.path, cases: CASES },
);
