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
const MAX_SOURCE_BYTES = 64 * MiB;
const MAX_TARGET_BYTES = 128 * MiB;

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
};

let loaded;

function load({ from, sourceBytes }) {
	const key = `${from} ${sourceBytes}`;
	if (loaded === key) return;
	const file = openSync(join(folder, from), "r");
	readSync(file, staging, 0, sourceBytes, 0);
	closeSync(file);
	loaded = key;
}

async function measure(request) {
	load(request);
	const elements = request.sourceBytes / itemBytes(request.from);
	const target = allTarget.subarray(0, elements * itemBytes(request.to));
	const ops = MAKE[request.kind](request, elements);
	const before = process.cpuUsage();
	const begun = performance.now();
	for (let i = 0; i < request.repeats; i++) await backend.run(ops, staging, target);
	const wallSeconds = (performance.now() - begun) / 1000;
	const { user, system } = process.cpuUsage(before);
	const sha256 = request.wantsHash ? createHash("sha256").update(target).digest("hex") : undefined;
	return { cpuSeconds: (user + system) / 1e6, wallSeconds, sha256 };
}

for await (const line of createInterface({ input: process.stdin })) {
	process.stdout.write(`${JSON.stringify(await measure(JSON.parse(line)))}\n`);
}
