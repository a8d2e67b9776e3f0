// Peak memory of one conversion: a 4 GB model, served by a Hub in another process, through the built command line.
//
//   npm run build && npm run bench:memory [-- --memory 512MiB]
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { writeSyntheticModel } from "./synthetic-model.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const cli = join(here, "../dist/bin/hf-stream-dcp.js");
const reporter = join(here, "report-peak-rss.mjs");
const layout = ["--dp-shard=8", "--tp=2", "--target=torchtitan@2026-06", "--workers=1"];
const extra = process.argv.slice(2);

/** Runs the command line to its end and returns its peak resident memory and wall time. */
async function measure(folder, args, env) {
	const peakFile = join(folder, "peak.json");
	const started = performance.now();
	const child = spawn(process.execPath, ["--import", reporter, cli, ...args], {
		stdio: ["ignore", "ignore", "inherit"],
		env: { PATH: process.env["PATH"], ...env, PEAK_RSS_FILE: peakFile },
	});
	const [code] = await once(child, "close");
	const seconds = (performance.now() - started) / 1000;
	if (code !== 0) throw new Error(`hf-stream-dcp ${args.join(" ")} ended with ${code}`);
	return { seconds, ...JSON.parse(await readFile(peakFile, "utf8")) };
}

async function startHub(models) {
	const child = spawn(process.execPath, [join(here, "serve-models.mjs"), models], {
		stdio: ["pipe", "pipe", "inherit"],
	});
	for await (const endpoint of createInterface({ input: child.stdout })) {
		return { endpoint, stop: () => child.kill() };
	}
	throw new Error("the local Hub did not start");
}

async function directoryBytes(directory) {
	const names = await readdir(directory);
	const sizes = await Promise.all(
		names.map(async (name) => (await stat(join(directory, name))).size),
	);
	return sizes.reduce((sum, size) => sum + size, 0);
}

function machine() {
	const model = cpus()[0]?.model.trim();
	return { cpu: model, cores: cpus().length, memoryBytes: totalmem(), platform: process.platform };
}

function commit() {
	try {
		return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
			cwd: here,
			encoding: "utf8",
		}).trim();
	} catch {
		return undefined;
	}
}

const folder = await mkdtemp(join(tmpdir(), "hf-stream-dcp-bench-"));
let hub;
try {
	const modelBytes = await writeSyntheticModel(join(folder, "models/synthetic"));
	hub = await startHub(join(folder, "models"));
	const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, "home") };
	const idle = await measure(folder, ["--version"], env);
	const out = join(folder, "checkpoint");
	const run = await measure(folder, ["tests/synthetic", "--out", out, ...layout, ...extra], env);
	const result = {
		what: "peak resident memory of converting a Llama-shaped model through the command line",
		date: new Date().toISOString(),
		commit: commit(),
		machine: machine(),
		node: process.version,
		flags: [...layout, ...extra].join(" "),
		modelBytes,
		checkpointBytes: await directoryBytes(out),
		seconds: Number(run.seconds.toFixed(2)),
		bytesPerSecond: Math.round(modelBytes / run.seconds),
		peakRssBytes: run.peakRssBytes,
		peakRssMiB: Math.round(run.peakRssBytes / 2 ** 20),
		idlePeakRssMiB: Math.round(idle.peakRssBytes / 2 ** 20),
	};
	const text = `${JSON.stringify(result, undefined, "\t")}\n`;
	await writeFile(join(here, "results/memory.json"), text);
	process.stdout.write(text);
} finally {
	hub?.stop();
	await rm(folder, { recursive: true, force: true });
}
