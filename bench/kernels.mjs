// Every kernel that moves or makes values, beside what torch does with one thread on the same bytes.
//
//   npm run build && npm run bench:kernels [-- --quick]
//
// Writes bench/results/kernels.json, or quick/kernels.json. Ends with 1 when a result has other bits than torch's.
import { existsSync } from "node:fs";
import { formatRows, writeResults } from "./lib/results.mjs";
import { scratchFolder } from "./lib/scratch.mjs";
import { readSettings, resultName, say } from "./lib/settings.mjs";
import { findPython } from "./lib/tools.mjs";
import { measureKernels } from "./stages/kernels.mjs";

const MiB = 2 ** 20;

const settings = readSettings();
const pairs = settings.rounds ?? (settings.isQuick ? 3 : 11);
const sourceBytes = (settings.isQuick ? 16 : 32) * MiB;
const memory = await scratchFolder(existsSync("/dev/shm") ? "/dev/shm" : undefined);
try {
	const rows = await measureKernels({ pairs, folder: memory.path, sourceBytes });
	say(formatRows(rows));
	await writeResults(
		resultName("kernels", settings),
		"value kernels beside torch with one thread; a ratio above 1 means that ours is faster",
		rows,
		{ python: findPython(["torch"]).path, isQuick: settings.isQuick },
	);
} finally {
	await memory.remove();
}
