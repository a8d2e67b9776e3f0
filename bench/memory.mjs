// Peak memory of a conversion with one thread: by budget and model, and whether it grows with the model.
//
//   npm run build && npm run bench:memory [-- --quick | --full]
//
// `--full` takes the 60 GB model instead of one of 12 GB.
import { mkdir, readdir, rm, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startNetwork } from "./lib/networks.mjs";
import { startNginx } from "./lib/nginx.mjs";
import { median } from "./lib/pairs.mjs";
import { formatRows, makeRow, makeSkip, writeResults } from "./lib/results.mjs";
import { runMeasured } from "./lib/run.mjs";
import { scratchFolder } from "./lib/scratch.mjs";
import { CLI, hasFlag, readSettings, resultName, say, TARGET } from "./lib/settings.mjs";
import { findTool } from "./lib/tools.mjs";
import { llama3, modelBytes, smallLlama3, writeModel } from "./synthetic-model.mjs";

const settings = readSettings();
const rounds = settings.rounds ?? (settings.isQuick ? 1 : 3);
/** Both ways of cutting at once, so that rows, columns and experts go through the kernels. */
const layout = ["--dp-shard", "8", "--tp", "2", ...TARGET];
const oneThread = hasFlag("--threads") ? ["--threads", "1"] : [];

/** Below this much free space the run with the large model is given up. */
const SPARE_DISK_BYTES = 5e9;

/** @returns two models of the same shapes, of which the second has many times the layers */
function growingModels() {
	if (settings.isQuick) return [smallLlama3({ layers: 4 }), smallLlama3({ layers: 24 })];
	// 2.3 GB, and 60.0 GB or 12.3 GB.
	return [llama3({ layers: 4 }), llama3({ layers: settings.isFull ? 136 : 27 })];
}

/** Converts `tests/NAME` of the network's Hub. @returns {Promise<number>} peak resident memory, MB of a million bytes */
async function peakMegabytes({ name, network, folder, flags }) {
	await rm(folder, { recursive: true, force: true });
	await mkdir(folder, { recursive: true });
	const where = [`tests/${name}`, "--out", join(folder, "out"), "--quiet"];
	const args = [CLI, ...where, ...layout, ...oneThread, ...flags];
	const { peakProcessRssBytes } = await runMeasured(process.execPath, args, {
		env: { ...network.env, HF_HOME: join(folder, "home") },
		timeoutMs: 1_800_000,
	});
	await rm(folder, { recursive: true, force: true });
	return peakProcessRssBytes / 1e6;
}

/** Gives the zeros in finished parts of a checkpoint back to the disk while it is being written: what is written is not kept. */
async function digHoles(folder, signal) {
	while (!signal.aborted) {
		const { bavail, bsize } = await statfs(dirname(folder));
		if (bavail * bsize < SPARE_DISK_BYTES) throw new Error(`less than 5 GB are free at ${folder}`);
		const names = await readdir(join(folder, "out")).catch(() => []);
		for (const name of names.filter((each) => each.endsWith(".distcp"))) {
			// A file may be renamed or gone in between.
			await runMeasured("fallocate", ["--dig-holes", join(folder, "out", name)]).catch(() => {});
		}
		await delay(200, undefined, { signal }).catch(() => {});
	}
}

async function peakOfSparse(options) {
	const ended = new AbortController();
	const digging = digHoles(options.folder, ended.signal);
	try {
		return await Promise.race([peakMegabytes(options), digging.then(() => Number.NaN)]);
	} finally {
		ended.abort();
		await digging.catch(() => {});
	}
}

/** @returns {Promise<number[]>} */
async function repeat(work) {
	const values = [];
	for (let round = 0; round < rounds; round++) values.push(await work());
	return values;
}

async function budgetRows(context) {
	const budgets = [
		{ title: "default budget", flags: [], goal: "<= 300" },
		{ title: "--memory 128MiB", flags: ["--memory", "128MiB"], goal: "<= 180" },
	];
	const rows = [];
	for (const name of Object.keys(settings.models)) {
		for (const { title, flags, goal } of budgets) {
			const runs = await repeat(() => peakMegabytes({ name, flags, ...context }));
			say(`  ${name}, ${title}: ${runs.map((each) => each.toFixed(0)).join(" ")} MB`);
			const figure = `memory, ${name}, one thread, ${title}: peak RSS`;
			rows.push(makeRow({ figure, value: Math.max(...runs), unit: "MB", goal, runs }));
		}
	}
	return rows;
}

async function growthRow(context, models) {
	const [few, many] = models.map((model) => `${(modelBytes(model) / 1e9).toFixed(1)} GB`);
	const runs = [];
	for (let round = 0; round < (settings.isFull ? 1 : rounds); round++) {
		const small = await peakOfSparse({ name: "small", flags: [], ...context });
		const large = await peakOfSparse({ name: "large", flags: [], ...context });
		say(`  ${few}: ${small.toFixed(0)} MB, ${many}: ${large.toFixed(0)} MB`);
		runs.push({ small, large, change: Math.abs(large / small - 1) });
	}
	const figure = `memory: change of the peak RSS from ${few} to ${many}`;
	const value = median(runs.map(({ change }) => change));
	return makeRow({ figure, value, unit: "of the smaller", goal: "<= 0.1", runs });
}

async function main() {
	const served = await scratchFolder();
	const work = await scratchFolder();
	let nginx;
	let network;
	try {
		const models = growingModels();
		say("memory: writing models");
		for (const [name, model] of Object.entries(settings.models))
			await writeModel(join(served.path, name), model);
		await writeModel(join(served.path, "small"), models[0], { isSparse: true });
		await writeModel(join(served.path, "large"), models[1], { isSparse: true });
		nginx = await startNginx({ directory: served.path });
		const repos = (await readdir(served.path)).map((name) => ({
			id: `tests/${name}`,
			directory: join(served.path, name),
			cdnFolder: name,
		}));
		network = await startNetwork("http", { nginx, repos, pieceBytes: 0 });
		const context = { network, folder: join(work.path, "run") };
		const idle = await runMeasured(process.execPath, [CLI, "--version"]);
		await finish([
			...(await budgetRows(context)),
			await growthRow(context, models),
			makeRow({
				figure: "memory: peak RSS of --version",
				value: idle.peakProcessRssBytes / 1e6,
				unit: "MB",
				runs: [],
			}),
		]);
	} finally {
		await network?.stop();
		await nginx?.stop();
		await work.remove();
		await served.remove();
	}
}

async function finish(rows) {
	const what = "peak resident memory of the command line, one thread, from a Hub on loopback";
	await writeResults(resultName("memory", settings), what, rows, {
		isQuick: settings.isQuick,
		rounds,
		flags: [...layout, ...oneThread].join(" "),
	});
	console.log(formatRows(rows));
}

const nginxFound = findTool("nginx");
if (nginxFound.skip === undefined) await main();
else await finish([makeSkip("memory: peak RSS", nginxFound.skip, "<= 300")]);
