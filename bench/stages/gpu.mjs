// Stage: what a GPU does with a tile, beside the CPU back end with one thread, on the same bytes in turns.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { interleave } from "../lib/pairs.mjs";
import { startMeter } from "../lib/run.mjs";
import { gpuCases } from "./kernel-cases.mjs";
import { writeSources } from "./kernels.mjs";
import { assertEqual, compare, costOf } from "./stage.mjs";

const child = fileURLToPath(new URL("./kernel-child.mjs", import.meta.url));
/** Long enough for a clock, short enough for many pairs. */
const RUN_SECONDS = 0.05;

/** Of a tile, for a GPU that the processor plays. */
const MOST_SOFTWARE_BYTES = 2 * 2 ** 20;

/** What finds the Vulkan driver; everything else of the environment is left out. */
const DRIVER_VARIABLES = /^(VK_|NVIDIA_|LD_LIBRARY_PATH$|XDG_RUNTIME_DIR$|CUDA_VISIBLE_DEVICES$)/;

/** @returns {Record<string, string>} */
export function driverEnvironment() {
	return Object.fromEntries(
		Object.entries(process.env).filter(([name]) => DRIVER_VARIABLES.test(name)),
	);
}

/**
 * @param {{ pairs: number, folder: string, sourceBytes: number }} options `folder` in memory
 * @returns {Promise<{ rows: import("../lib/results.mjs").Row[], device: object }>} `device`: adapter, limits, self-test
 */
export async function measureGpu({ pairs, folder, sourceBytes }) {
	const sources = join(folder, "weights");
	await mkdir(folder, { recursive: true });
	await writeSources(sources, sourceBytes);
	const start = (device) =>
		startMeter(process.execPath, [child, sources, device], driverEnvironment());
	const meters = { webgpu: start("webgpu"), cpu: start("cpu") };
	const rows = [];
	try {
		const { info } = await meters.webgpu.ask({ facts: true });
		if (info.isSoftware && sourceBytes > MOST_SOFTWARE_BYTES)
			throw new Error("a GPU in software is measured with --quick only: it takes hours otherwise");
		for (const one of gpuCases(sourceBytes)) rows.push(...(await measureCase(meters, one, pairs)));
		return { rows, device: await meters.webgpu.ask({ facts: true }) };
	} finally {
		for (const meter of Object.values(meters)) await meter.stop();
	}
}

/** Of write buffers under the default budget. */
const WINDOW_BYTES = 4 * 2 ** 20;

async function measureCase(meters, kernel, pairs) {
	const one = { ...kernel, windowBytes: WINDOW_BYTES };
	const variants = {};
	const hashes = {};
	for (const [name, meter] of Object.entries(meters)) {
		// Once for the bits, once to know how long it takes.
		const { sha256, batches, windows } = await meter.ask({ ...one, repeats: 1, wantsHash: true });
		hashes[name] = sha256;
		if (batches < windows) throw new Error(`the GPU left "${one.name}" to the CPU`);
		const { wallSeconds } = await meter.ask({ ...one, repeats: 1, wantsHash: false });
		const repeats = Math.max(1, Math.min(50, Math.round(RUN_SECONDS / wallSeconds)));
		variants[name] = async () => {
			const cost = costOf(await meter.ask({ ...one, repeats, wantsHash: false }));
			return { cpuSeconds: cost.cpuSeconds / repeats, wallSeconds: cost.wallSeconds / repeats };
		};
	}
	assertEqual(`the bits of "${one.name}"`, hashes.webgpu, hashes.cpu);
	const runs = await interleave({ variants, pairs });
	const options = { runs, bytes: one.sourceBytes, ours: "webgpu", reference: "cpu" };
	return compare({ what: `gpu ${one.name}`, ...options });
}
