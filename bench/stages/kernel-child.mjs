// The CPU back end, asked for one kernel at a time: a line with a case of `kernel-cases.mjs` and `repeats` in, its cost and the
// SHA-256 of the target out.
//
//   node kernel-child.mjs FOLDER        FOLDER has one file of source bytes per dtype
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createCpuBackend } from "../../dist/src/stream/cpu/backend.js";
import { itemBytes } from "./kernel-cases.mjs";

const MiB = 2 ** 20;
/** Elements, and behind them their scales. */
const MAX_SOURCE_BYTES = 64 * MiB;
const SCALES = MAX_SOURCE_BYTES / 2;
const MAX_TARGET_BYTES = 192 * MiB;

const [folder] = process.argv.slice(2);
const backend = createCpuBackend();
const memory = backend.allocate(MAX_SOURCE_BYTES + MAX_TARGET_BYTES);
const staging = memory.subarray(0, MAX_SOURCE_BYTES);
const allTarget = memory.subarray(MAX_SOURCE_BYTES);

function run(size, sourceStride, targetStride) {
	return { size, sourceStride, targetStride };
}

function gather({ from, to }, sourceOffset, targetOffset, dims) {
	const piece = { kind: "gather", source: "w", sourceDtype: from, targetDtype: to };
	return {
		piece: { ...piece, sourceOffset, targetOffset, dims },
		stagingOffset: sourceOffset * itemBytes(from),
	};
}

function loop(size, sourceStride, targetStride, scaleStride) {
	return { size, sourceStride, targetStride, scaleStride };
}

/** What `plan/pull-dequant.ts` makes of the whole of a tensor. `dims` are in the order of the source. */
function dequant({ from, to, isTransposed }, scaleCodec, dims) {
	const codec = from === "uint8" ? "float4_e2m1" : from;
	const sorted = isTransposed ? dims.toSorted((a, b) => b.targetStride - a.targetStride) : dims;
	const offsets = { sourceOffset: 0, scaleOffset: 0, targetOffset: 0 };
	const piece = { kind: "dequant", source: "w", codec, scales: "s", scaleCodec, targetDtype: to };
	return {
		piece: { ...piece, ...offsets, dims: sorted.filter((dim) => dim.size > 1) },
		stagingOffset: 0,
		scaleStagingOffset: SCALES,
	};
}

const MAKE = {
	copy: (of, elements) => [gather(of, 0, 0, [run(elements, 1, 1)])],
	cast: (of, elements) => [gather(of, 0, 0, [run(elements, 1, 1)])],
	columns: (of, elements) => {
		const width = of.runBytes / itemBytes(of.from);
		const rows = elements / (width * of.parts);
		return Array.from({ length: of.parts }, (_, part) =>
			gather(of, part * width, part * rows * width, [
				run(rows, width * of.parts, width),
				run(width, 1, 1),
			]),
		);
	},
	rotary: (of, elements) => {
		const width = of.rowBytes / itemBytes(of.from);
		const [half, head] = [of.headRows / 2, of.headRows * width];
		const dims = [run(elements / head, head, head), run(half, width, 2 * width)];
		return [gather(of, 0, 0, [...dims, run(2, half * width, width), run(width, 1, 1)])];
	},
	transpose: (of, elements) => {
		const rows = elements / of.columns;
		return [gather(of, 0, 0, [run(of.columns, 1, rows), run(rows, of.columns, 1)])];
	},
	fp8: (of) => {
		const { rows, columns, isTransposed } = of;
		const [row, column] = isTransposed ? [1, rows] : [columns, 1];
		const dims = [
			loop(rows / 128, 128 * columns, 128 * row, columns / 128),
			loop(128, columns, row, 0),
			loop(columns / 128, 128, 128 * column, 1),
			loop(128, 1, column, 0),
		];
		return [dequant(of, "float32", dims)];
	},
	mxfp4: (of) => {
		const { rows, columns, sourceBytes, isTransposed } = of;
		const matrix = rows * columns;
		const experts = (2 * sourceBytes) / matrix;
		const dims = isTransposed
			? [
					loop(experts, matrix, matrix, matrix / 32),
					loop(rows, columns, 1, columns / 32),
					loop(columns / 32, 32, 32 * rows, 1),
					loop(32, 1, rows, 0),
				]
			: [loop((2 * sourceBytes) / 32, 32, 32, 1), loop(32, 1, 1, 0)];
		return [dequant(of, "power_of_two", dims)];
	},
};

let loaded;

function load({ kind, from, sourceBytes }) {
	const key = `${kind} ${from} ${sourceBytes}`;
	if (loaded === key) return;
	loadFile(from, 0, sourceBytes);
	if (kind === "fp8") loadFile("scales_float32", SCALES, sourceBytes / (128 * 32));
	if (kind === "mxfp4") loadFile("scales_uint8", SCALES, sourceBytes / 16);
	loaded = key;
}

function loadFile(name, at, bytes) {
	const file = openSync(join(folder, name), "r");
	readSync(file, staging, at, bytes, 0);
	closeSync(file);
}

async function measure(request) {
	load(request);
	const perByte = request.kind === "mxfp4" ? 2 : 1;
	const elements = (request.sourceBytes * perByte) / itemBytes(request.from);
	const target = allTarget.subarray(0, elements * itemBytes(request.to));
	const ops = MAKE[request.kind](request, elements);
	const source = await backend.load(staging);
	const before = process.cpuUsage();
	const begun = performance.now();
	for (let i = 0; i < request.repeats; i++) await source.run(ops, target);
	const wallSeconds = (performance.now() - begun) / 1000;
	const { user, system } = process.cpuUsage(before);
	const sha256 = request.wantsHash ? createHash("sha256").update(target).digest("hex") : undefined;
	return { cpuSeconds: (user + system) / 1e6, wallSeconds, sha256 };
}

for await (const line of createInterface({ input: process.stdin })) {
	process.stdout.write(`${JSON.stringify(await measure(JSON.parse(line)))}\n`);
}
