// Verifying a checkpoint beside `cat FILES > /dev/null` of the same files, in the page cache and from the disk.
//
//   npm run build && npm run bench:verify [-- --quick | --full] [-- --rounds N]
//
// Writes bench/results/verify.json. `--full` takes a checkpoint of 24 GB, which must fit the page cache.
import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { interleave, median, ratios, spread } from "./lib/pairs.mjs";
import { formatRows, makeRow, writeResults } from "./lib/results.mjs";
import { runMeasured } from "./lib/run.mjs";
import { scratchFolder } from "./lib/scratch.mjs";
import { CLI, readSettings, resultName, say, TARGET } from "./lib/settings.mjs";
import { llama3, modelBytes, smallLlama3, writeModel } from "./synthetic-model.mjs";

const settings = readSettings();
const rounds = settings.rounds ?? (settings.isQuick ? 3 : 5);
const layout = ["--dp-shard", "8", "--tp", "2", ...TARGET];

/** A small model and one of many times its size: of 2.3 GB and 12.3 GB. */
const models = settings.isQuick
	? { small: smallLlama3({ layers: 4 }), large: smallLlama3({ layers: 24 }) }
	: { small: llama3({ layers: 4 }), large: llama3({ layers: settings.isFull ? 54 : 27 }) };

/** Writes a model, whose weights are holes, and converts it. @returns {Promise<{ directory: string, files: string[], bytes: number }>} */
async function makeCheckpoint(folder, name, model) {
	const source = join(folder, `${name}-model`);
	const directory = join(folder, name);
	await writeModel(source, model, { isSparse: true });
	await runMeasured(process.execPath, [CLI, source, "--out", directory, "--quiet", ...layout]);
	const names = await readdir(directory);
	const files = names
		.filter((each) => each.endsWith(".distcp"))
		.map((each) => join(directory, each));
	return { directory, files, bytes: modelBytes(model) };
}

/** Drops the pages of files out of the page cache, and no others. */
function dropFromCache(files) {
	for (const file of files) {
		execFileSync("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"], {
			stdio: "ignore",
		});
	}
}

/** `cat FILES > /dev/null` */
function cat({ files }) {
	return runMeasured("sh", ["-c", 'exec cat "$@" > /dev/null', "sh", ...files]);
}

async function verify({ directory }, flags = []) {
	const usage = await runMeasured(process.execPath, [
		CLI,
		"verify",
		directory,
		"--json",
		"--quiet",
		...flags,
	]);
	const report = JSON.parse(usage.stdout);
	if (!report.isGood)
		throw new Error(`the checkpoint of the benchmark is damaged: ${usage.stdout}`);
	return { ...usage, innerSeconds: report.seconds };
}

function rates(runs, bytes) {
	const rate = (name) => median(runs.map((run) => bytes / 1e9 / run[name].wallSeconds));
	return { rates: { verify: rate("verify"), cat: rate("cat") }, rateUnit: "GB/s" };
}

/** The speed of verifying as a part of cat's, startup of Node included. */
function speedRow(figure, runs, bytes, goal) {
	const values = ratios(runs, "cat", "verify", ({ wallSeconds }) => wallSeconds);
	const { median: value, min, max } = spread(values);
	return makeRow({ figure, value, unit: "× cat", goal, runs, min, max, ...rates(runs, bytes) });
}

/** Only what the rows need of a run. */
function facts({ wallSeconds, cpuSeconds, peakProcessRssBytes, innerSeconds }) {
	return { wallSeconds, cpuSeconds, peakProcessRssBytes, innerSeconds };
}

async function compare(checkpoint, { isCold, flags, pairs }) {
	const prepare = () => isCold && dropFromCache(checkpoint.files);
	const measured = (run) => async () => {
		prepare();
		return facts(await run());
	};
	return await interleave({
		variants: {
			cat: measured(() => cat(checkpoint)),
			verify: measured(() => verify(checkpoint, flags)),
		},
		pairs,
		warmup: isCold ? 0 : 1,
	});
}

function memoryRow(figure, value, goal, runs, unit = "MB") {
	return makeRow({ figure, value, unit, goal, runs });
}

const scratch = await scratchFolder();
try {
	say("making checkpoints …");
	const small = await makeCheckpoint(scratch.path, "small", models.small);
	const large = await makeCheckpoint(scratch.path, "large", models.large);
	const size = (large.bytes / 1e9).toFixed(1);
	const rows = [];
	say("in the page cache …");
	const cached = await compare(large, { isCold: false, flags: [], pairs: rounds });
	rows.push(speedRow(`verify, ${size} GB in the page cache`, cached, large.bytes, ">= 0.8"));
	say("from the disk …");
	const coldPairs = Math.min(rounds, 3);
	const cold = await compare(large, { isCold: true, flags: [], pairs: coldPairs });
	rows.push(speedRow(`verify, ${size} GB from the disk`, cold, large.bytes, ">= 0.8"));
	say("other levels …");
	const hashed = await compare(large, { isCold: false, flags: ["--hashes"], pairs: 1 });
	rows.push(speedRow(`verify --hashes, ${size} GB in the page cache`, hashed, large.bytes, null));
	const quick = [];
	for (let round = 0; round < rounds; round++) quick.push(facts(await verify(large, ["--quick"])));
	rows.push(
		makeRow({
			figure: `verify --quick, ${size} GB`,
			value: median(quick.map(({ wallSeconds }) => wallSeconds)),
			unit: "s",
			runs: quick,
		}),
	);
	say("memory …");
	const peak = (runs) => median(runs.map(({ peakProcessRssBytes }) => peakProcessRssBytes / 1e6));
	const ofSmall = [];
	for (let round = 0; round < rounds; round++) ofSmall.push(facts(await verify(small)));
	const ofLarge = cached.map((run) => run.verify);
	const more = (peak(ofLarge) / peak(ofSmall) - 1) * 100;
	rows.push(memoryRow(`verify, ${size} GB: peak RSS`, peak(ofLarge), "<= 150", ofLarge));
	const times = (large.bytes / small.bytes).toFixed(1);
	rows.push(
		memoryRow(
			`verify: more peak RSS for ${times} times the bytes`,
			more,
			"<= 10",
			{ small: ofSmall, large: ofLarge },
			"%",
		),
	);
	const what = "verifying a checkpoint beside cat of the same files, in turns";
	await writeResults(resultName("verify", settings), what, rows, {
		isQuick: settings.isQuick,
		rounds,
		layout: layout.join(" "),
	});
	console.log(formatRows(rows));
	if (rows.some(({ holds }) => holds === false)) process.exitCode = 1;
} finally {
	await scratch.remove();
}
