// A back end, asked for one kernel at a time: a line with a case of `kernel-cases.mjs` and `repeats` in, its cost and the SHA-256 of the
// target out. A line `{"facts":true}`: what the back end says of itself.
//
//   node kernel-child.mjs FOLDER [cpu | webgpu]        FOLDER has one file of source bytes per dtype
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { kernelOps, scaleBytes, scalesBegin, targetBytes } from "./kernel-ops.mjs";

const MiB = 2 ** 20;
/** Elements, and behind them their scales. */
const MAX_SOURCE_BYTES = 64 * MiB;
const MAX_TARGET_BYTES = 192 * MiB;

const [folder, device = "cpu"] = process.argv.slice(2);
const { backend, facts } = await open();
const memory = backend.allocate(MAX_SOURCE_BYTES + MAX_TARGET_BYTES);
const staging = memory.subarray(0, MAX_SOURCE_BYTES);
const allTarget = memory.subarray(MAX_SOURCE_BYTES);

async function open() {
	if (device === "cpu") {
		const { createCpuBackend } = await import("../../dist/src/stream/cpu/backend.js");
		const cpu = createCpuBackend();
		return { backend: cpu, facts: () => ({ name: cpu.name }) };
	}
	const { openGpuForBench } = await import("./gpu-child.mjs");
	return openGpuForBench();
}

let loaded;
let loadedBytes = 0;

function load(request) {
	const { kind, from, sourceBytes } = request;
	const key = `${kind} ${from} ${sourceBytes}`;
	if (loaded === key) return;
	const scales = scaleBytes(request);
	loadFile(from, 0, sourceBytes);
	if (scales > 0) {
		const name = kind === "fp8" ? "scales_float32" : "scales_uint8";
		loadFile(name, scalesBegin(sourceBytes), scales);
	}
	loadedBytes = scales > 0 ? scalesBegin(sourceBytes) + scales : sourceBytes;
	loaded = key;
}

function loadFile(name, at, bytes) {
	const file = openSync(join(folder, name), "r");
	readSync(file, staging, at, bytes, 0);
	closeSync(file);
}

/** As a tile is worked off: given to the back end once, then made. */
async function runOnce(ops, target) {
	const source = await backend.load(staging.subarray(0, loadedBytes));
	try {
		await source.run(ops, target);
	} finally {
		await source[Symbol.asyncDispose]();
	}
}

async function measure(request) {
	load(request);
	const target = allTarget.subarray(0, targetBytes(request));
	const ops = kernelOps(request);
	const before = process.cpuUsage();
	const begun = performance.now();
	for (let i = 0; i < request.repeats; i++) await runOnce(ops, target);
	const wallSeconds = (performance.now() - begun) / 1000;
	const { user, system } = process.cpuUsage(before);
	const sha256 = request.wantsHash ? createHash("sha256").update(target).digest("hex") : undefined;
	return { cpuSeconds: (user + system) / 1e6, wallSeconds, sha256 };
}

for await (const line of createInterface({ input: process.stdin })) {
	const request = JSON.parse(line);
	const answer = request.facts ? facts() : await measure(request);
	process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await backend[Symbol.asyncDispose]();
