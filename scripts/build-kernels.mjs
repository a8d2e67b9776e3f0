// Compiles the WebAssembly kernels to src/stream/wasm/kernels.wasm, unless that is newer than all it is made of.

import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const FOLDER = "src/stream/wasm";
const MODULE = `${FOLDER}/kernels.wasm`;

const modified = (path) => statSync(join(ROOT, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;

const sources = readdirSync(join(ROOT, FOLDER, "assembly")).map(
	(name) => `${FOLDER}/assembly/${name}`,
);
const newest = Math.max(...[...sources, "scripts/build-kernels.mjs"].map(modified));
if (modified(MODULE) <= newest) {
	const files = [`${FOLDER}/assembly/index.ts`, "--baseDir", ROOT, "--outFile", MODULE];
	const memory = ["--runtime", "stub", "--importMemory", "--noExportMemory"];
	const options = [...memory, "--enable", "simd", "-O3", "--converge"];
	const { stdout, stderr } = process;
	const { error } = await main([...files, ...options], { stdout, stderr });
	if (error) throw error;
}
