// A back end, asked for one kernel at a time: a line with a case of `kernel-cases.mjs` and `repeats` in, its cost and the SHA-256 of the
// target out. A line `{"facts":true}`: what the back end says of itself.
//
//   node kernel-child.mjs FOLDER [cpu | webgpu]        FOLDER has one file of source bytes per dtype
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { itemBytes } from "./kernel-cases.mjs";
import {
	elementsMade,
	kernelOps,
	scaleBytes,
	scalesBegin,
	targetBytes,
	windowsOf,
} from "./kernel-ops.mjs";

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

/** What is run at once, and its target: all, or windows as a conversion makes them. */
function stepsOf(request) {
	const ops = kernelOps(request);
	const target = allTarget.subarray(0, targetBytes(request));
	if (request.windowBytes === undefined) return [{ ops, target }];
	const width = itemBytes(request.to);
	const windows = ops.flatMap((op) => [...windowsOf(op, request.windowBytes / width)]);
	let end = 0;
	return windows.map((op) => {
		const start = end;
		end += elementsMade(op) * width;
		return { ops: [op], target: target.subarray(start, end) };
	});
}

/** As a tile is worked off: given to the back end once, then made. */
async function runOnce(steps) {
	const source = await backend.load(staging.subarray(0, loadedBytes));
	try {
		for (const { ops, target } of steps) await source.run(ops, target);
	} finally {
		await source[Symbol.asyncDispose]();
	}
}

async function measure(request) {
	load(request);
	const target = allTarget.subarray(0, targetBytes(request));
	if (request.wantsHash) target.fill(0);
	const steps = stepsOf(request);
	const batchesBefore = backend.gpu?.batches;
	const before = process.cpuUsage();
	const begun = performance.now();
	for (let i = 0; i < request.repeats; i++) await runOnce(steps);
	const wallSeconds = (performance.now() - begun) / 1000;
	const { user, system } = process.cpuUsage(before);
	const sha256 = request.wantsHash ? createHash("sha256").update(target).digest("hex") : undefined;
	const batches = backend.gpu === undefined ? undefined : backend.gpu.batches - batchesBefore;
	const cpuSeconds = (user + system) / 1e6;
	return { cpuSeconds, wallSeconds, sha256, batches, windows: steps.length };
}

for await (const line of createInterface({ input: process.stdin })) {
	const request = JSON.parse(line);
	const answer = request.facts ? facts() : await measure(request);
	process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await backend[Symbol.asyncDispose]();
