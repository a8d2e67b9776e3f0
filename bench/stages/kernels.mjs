// Stage: every kernel of the CPU back end beside torch with one thread.
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { interleave } from "../lib/pairs.mjs";
import { makeSkip } from "../lib/results.mjs";
import { startMeter } from "../lib/run.mjs";
import { noise } from "../lib/scratch.mjs";
import { findPython } from "../lib/tools.mjs";
import { kernelCases } from "./kernel-cases.mjs";
import { assertEqual, compare, costOf } from "./stage.mjs";

const ours = fileURLToPath(new URL("./kernel-child.mjs", import.meta.url));
const torch = fileURLToPath(new URL("../reference/torch_kernels.py", import.meta.url));
/** Long enough for a clock, short enough for many pairs. */
const RUN_SECONDS = 0.05;

/** Makes weights of noise: no NaN, whose bits are nobody's promise, and magnitudes as weights have them. In place. */
const WEIGHTS = {
	uint8: () => {},
	bfloat16: (bytes) => {
		const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
		// Eight binades below 1/4.
		for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] & 0x83ff) | 0x3a00;
	},
	float16: (bytes) => {
		const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
		for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] & 0x8fff) | 0x2000;
	},
	float32: (bytes) => {
		const bits = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
		for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] & 0x83ffffff) | 0x3a000000;
	},
	float8_e4m3fn: (bytes) => {
		for (let i = 0; i < bytes.length; i++) if ((bytes[i] & 0x7f) === 0x7f) bytes[i] ^= 1;
	},
	// Factors from 2^-15 to 1, of any mantissa, and powers of two from 2^-15 to 1.
	scales_float32: (bytes) => {
		const bits = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
		for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] & 0x07ffffff) | 0x38000000;
	},
	scales_uint8: (bytes) => {
		for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] & 0x0f) | 0x70;
	},
};

/** Writes a file of source bytes for every dtype of the cases. @param {string} folder made @param {number} bytes of each */
export async function writeSources(folder, bytes) {
	await mkdir(folder);
	for (const [name, shape] of Object.entries(WEIGHTS)) {
		const pieces = function* () {
			for (const piece of noise(bytes, 7)) {
				shape(piece);
				yield piece;
			}
		};
		await pipeline(pieces(), createWriteStream(join(folder, name)));
	}
}

/**
 * @param {{ pairs: number, folder: string, sourceBytes: number }} options `folder` in memory
 */
export async function measureKernels({ pairs, folder, sourceBytes }) {
	const cases = kernelCases(sourceBytes);
	const python = findPython(["torch", "transformers"]);
	if (python.skip !== undefined) {
		return cases.map(({ name }) => makeSkip(`kernel ${name}: ours / torch`, python.skip, ">= 1"));
	}
	const sources = join(folder, "weights");
	await writeSources(sources, sourceBytes);
	const meters = {
		ours: startMeter(process.execPath, [ours, sources]),
		torch: startMeter(python.path, [torch, sources]),
	};
	const rows = [];
	try {
		for (const one of cases) rows.push(...(await measureKernel(meters, one, pairs)));
	} finally {
		for (const meter of Object.values(meters)) await meter.stop();
	}
	return rows;
}

async function measureKernel(meters, one, pairs) {
	const variants = {};
	const hashes = {};
	for (const [name, meter] of Object.entries(meters)) {
		// Once for the bits, once to know how long it takes.
		const first = await meter.ask({ ...one, repeats: 1, wantsHash: true });
		hashes[name] = first.sha256;
		const { wallSeconds } = await meter.ask({ ...one, repeats: 1, wantsHash: false });
		const repeats = Math.max(1, Math.min(50, Math.round(RUN_SECONDS / wallSeconds)));
		variants[name] = async () => {
			const cost = costOf(await meter.ask({ ...one, repeats, wantsHash: false }));
			return {
				cpuSeconds: cost.cpuSeconds / repeats,
				wallSeconds: cost.wallSeconds / repeats,
			};
		};
	}
	assertEqual(`the bits of "${one.name}"`, hashes.ours, hashes.torch);
	const runs = await interleave({ variants, pairs });
	const options = { runs, bytes: one.sourceBytes, reference: "torch", hasWall: false };
	return compare({ what: `kernel ${one.name}`, goal: ">= 1", ...options });
}
