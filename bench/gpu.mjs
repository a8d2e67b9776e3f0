// Resharding on a GPU beside the CPU: every kind of operation on a tile, and whole conversions.
//
//   npm run build && npm run bench:gpu [-- --quick]
//
// Writes bench/results/gpu.json. With a GPU in software (SwiftShader, llvmpipe) gpu-software.json: it says that everything runs, and nothing of
// any GPU's speed; always --quick there. Ends with 1 when results differ.
import { execFileSync } from "node:child_process";
import { formatRows, writeResults } from "./lib/results.mjs";
import { scratchFolder } from "./lib/scratch.mjs";
import { memoryFolder, readSettings, say } from "./lib/settings.mjs";
import { measureConversions } from "./stages/gpu-convert.mjs";
import { measureGpu } from "./stages/gpu.mjs";

const MiB = 2 ** 20;
/** Of the largest model, twice, and of both checkpoints. */
const ROOM_BYTES = 12e9;

/** Driver and link, where NVIDIA's tool is installed. */
function nvidiaFacts() {
	const query = "name,driver_version,pcie.link.gen.current,pcie.link.width.current,memory.total";
	try {
		const args = [`--query-gpu=${query}`, "--format=csv,noheader"];
		return execFileSync("nvidia-smi", args, { encoding: "utf8" }).trim().split("\n");
	} catch {
		return undefined;
	}
}

const settings = readSettings();
const { isQuick } = settings;
const pairs = settings.rounds ?? (isQuick ? 3 : 7);
const memory = await scratchFolder(await memoryFolder(isQuick ? ROOM_BYTES / 20 : ROOM_BYTES / 3));
try {
	const sourceBytes = (isQuick ? 2 : 16) * MiB;
	const { rows, device } = await measureGpu({ pairs, folder: memory.path, sourceBytes });
	say(`${device.name}: self-test ${device.selfTest.every(({ ok }) => ok) ? "passed" : "FAILED"}`);
	const { isSoftware } = device.info;
	const threads = isQuick ? [1] : [1, 4];
	const conversions = { pairs: isQuick ? 1 : 3, folder: memory.path, isQuick, threads };
	rows.push(...(await measureConversions(conversions)));
	say(formatRows(rows));
	const what = isSoftware
		? "a GPU in software beside the CPU: that all of it runs; its speed says nothing of a GPU's"
		: "resharding on the GPU beside the CPU back end; a ratio above 1 means that the GPU is faster";
	const name = isSoftware ? "gpu-software" : "gpu";
	await writeResults(isQuick && !isSoftware ? `quick/${name}` : name, what, rows, {
		isQuick,
		device,
		nvidia: nvidiaFacts(),
	});
} finally {
	await memory.remove();
}
