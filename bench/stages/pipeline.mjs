// Stage: the whole of it. Ours is the command line: one thread converts a model whose shards are rows. Beside it the C program that
// receives the same bytes, checksums and writes them, and curl. Ours and C end with everything on the disk; curl neither checksums nor
// syncs.
import { closeSync, openSync, readSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { interleave, median } from "../lib/pairs.mjs";
import { makeRow, makeSkip } from "../lib/results.mjs";
import { runMeasured } from "../lib/run.mjs";
import { findTool } from "../lib/tools.mjs";
import { assertHoldsRows } from "./checkpoint-equality.mjs";
import { curlArguments, findPipeline, pipelineArguments } from "./served.mjs";
import { assertEqual, compare, costOf } from "./stage.mjs";

const cli = fileURLToPath(new URL("../../dist/bin/hf-stream-dcp.js", import.meta.url));
const GOALS = { HTTP: ">= 0.9", TLS: ">= 0.95" };
const FLAGS = ["--target", "hf", "--dp-shard", "8", "--threads", "1", "--quiet"];

/**
 * @param {import("./served.mjs").Served} served
 * @param {{ pairs: number, folder: string, disk: string }} options `folder` in memory, `disk` on the disk that is measured
 */
export async function measurePipeline(served, { pairs, folder, disk }) {
	const rows = [];
	for (const route of served.routes) {
		const variants = await pipelineVariants({ served, route, folder, disk });
		const runs = await interleave({ variants, pairs });
		rows.push(...pipelineRows(route, served.bytes, runs));
	}
	return rows;
}

async function pipelineVariants({ served, route, folder, disk }) {
	const convert = (model, out) => async () => {
		await rm(out, { recursive: true, force: true });
		const env = { ...served.environment, HF_ENDPOINT: route.endpoint };
		const args = [cli, `tests/${model}`, "--out", out, ...FLAGS];
		return costOf(await runMeasured(process.execPath, args, { env }));
	};
	const out = join(disk, "checkpoint");
	const variants = {
		ours: convert("model", out),
		"empty run": convert("tiny", join(disk, "tiny")),
	};
	await variants.ours();
	await assertHoldsRows(out, served.modelDirectory);
	const program = findPipeline();
	if (program.skip === undefined) {
		for (const mode of ["write", "direct"]) {
			const file = join(disk, `c-${mode}`);
			const args = pipelineArguments(served, route, mode, { out: file, isSynced: true });
			const run = async () => {
				await rm(file, { force: true });
				return runMeasured(program.path, args);
			};
			assertEqual("CRCs of the C program", JSON.parse((await run()).stdout).crc, served.crcs);
			assertEqual("bytes that the C program wrote", crcsOfFile(file, served.ranges), served.crcs);
			variants[`C ${mode}`] = async () => costOf(await run());
		}
	}
	const curl = findTool("curl");
	if (curl.skip === undefined) {
		const files = join(disk, "curl");
		const config = join(folder, "curl-files");
		const args = await curlArguments(served, route, (index) => join(files, String(index)), config);
		variants.curl = async () => {
			await rm(files, { recursive: true, force: true });
			await mkdir(files);
			return costOf(await runMeasured(curl.path, args));
		};
	}
	return variants;
}

function crcsOfFile(path, ranges) {
	const file = openSync(path, "r");
	try {
		return ranges.map(({ start, end }) => {
			const bytes = Buffer.allocUnsafe(end - start);
			readSync(file, bytes);
			return crc32(bytes);
		});
	} finally {
		closeSync(file);
	}
}

function pipelineRows({ name }, bytes, measured) {
	const what = `pipeline ${name}`;
	// What the bytes cost: a process that converts nothing loads the program, asks the Hub, plans and commits all the same.
	const runs = measured.map((run) => ({
		...run,
		"ours beyond an empty run": {
			cpuSeconds: run.ours.cpuSeconds - run["empty run"].cpuSeconds,
			wallSeconds: run.ours.wallSeconds - run["empty run"].wallSeconds,
		},
	}));
	const rows = [];
	for (const reference of ["C write", "C direct", "curl"]) {
		const goal = reference === "curl" ? null : GOALS[name];
		if (runs[0][reference] === undefined) {
			const reason = reference === "curl" ? "curl is not installed" : findPipeline().skip;
			rows.push(makeSkip(`${what}: ours / ${reference}`, reason, goal));
			continue;
		}
		const ours = "ours beyond an empty run";
		rows.push(...compare({ what, runs, bytes, ours, reference, goal, hasWall: false }));
		rows.push(...compare({ what, runs, bytes, reference }));
	}
	const starts = measured.map((run) => run["empty run"]);
	const value = median(starts.map(({ cpuSeconds }) => cpuSeconds));
	rows.push(makeRow({ figure: `${what}: an empty run`, value, unit: "CPU-seconds", runs: starts }));
	return rows;
}
