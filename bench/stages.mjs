// The stages of a conversion, each beside the best that others have: C, curl, dd, zlib.
//
//   npm run build && npm run bench:stages [-- --quick] [-- --only receive,pipeline,crc,write]
//
// Writes bench/results/stages.json, or quick/stages.json, when all stages ran. Ends with 1 when outputs that must be equal are not.
import { parseArgs } from "node:util";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { formatRows, makeSkip, writeResults } from "./lib/results.mjs";
import { scratchFolder, writeNoise } from "./lib/scratch.mjs";
import { findPython, findTool } from "./lib/tools.mjs";
import { measureChecksums } from "./stages/checksum.mjs";
import { measurePipeline } from "./stages/pipeline.mjs";
import { measureReceiving } from "./stages/receive.mjs";
import { serveModel } from "./stages/served.mjs";
import { measureWriting } from "./stages/write.mjs";
import { llama3, smallLlama3 } from "./synthetic-model.mjs";

const MiB = 2 ** 20;
const STAGES = ["crc", "write", "receive", "pipeline"];

const { values } = parseArgs({
	options: {
		quick: { type: "boolean", default: false },
		only: { type: "string", default: STAGES.join() },
	},
});
const isQuick = values.quick;
const wanted = new Set(values.only.split(","));
const pairs = isQuick ? 3 : 5;

/** Sources and servers live in memory where that is possible: only what is measured touches the disk. */
const memory = await scratchFolder(existsSync("/dev/shm") ? "/dev/shm" : undefined);
const onDisk = await scratchFolder();
const folder = memory.path;
const disk = onDisk.path;
const noiseFile = join(folder, "noise");

/** Tells on stderr what is being measured, and what came out as soon as it is known. */
async function stage(name, measure) {
	if (!wanted.has(name)) return [];
	console.error(`${name} …`);
	const rows = await measure();
	console.error(formatRows(rows));
	return rows;
}

async function overTheNetwork() {
	const missing = ["nginx", "openssl"].map(findTool).find(({ skip }) => skip !== undefined);
	const names = ["receive", "pipeline"].filter((name) => wanted.has(name));
	if (missing !== undefined) return names.map((name) => makeSkip(name, missing.skip));
	if (names.length === 0) return [];
	const served = await serveModel(folder, isQuick ? smallLlama3() : llama3({ layers: 4 }));
	try {
		return [
			...(await stage("receive", () => measureReceiving(served, { pairs, folder }))),
			...(await stage("pipeline", () => measurePipeline(served, { pairs, folder, disk }))),
		];
	} finally {
		await served.stop();
	}
}

async function onTheMachine() {
	await writeNoise(noiseFile, 64 * MiB, 3);
	const writing = { pairs, noiseFile, entries: isQuick ? 2 : 8, disk };
	return [
		...(await stage("crc", () => measureChecksums({ pairs, noiseFile, repeats: 4 }))),
		...(await stage("write", () => measureWriting(writing))),
	];
}

try {
	const begun = performance.now();
	const rows = [...(await onTheMachine()), ...(await overTheNetwork())];
	const seconds = (performance.now() - begun) / 1000;
	const what =
		"stages of a conversion beside C, curl, dd and zlib; ratios above 1 mean that ours is better";
	const { path } = findPython(["torch"]);
	// A part of the stages is no result to keep.
	if (wanted.size === STAGES.length) {
		const name = isQuick ? "quick/stages" : "stages";
		await writeResults(name, what, rows, { python: path, isQuick, seconds });
	}
	console.error(`${rows.length} rows in ${Math.round(seconds)} s`);
} finally {
	await memory.remove();
	await onDisk.remove();
}
