// Stage: CRC-32 of bytes in memory: the native package, Node's zlib, C with PCLMULQDQ, Python's zlib.
import { crc32 as nativeCrc32 } from "@node-rs/crc32";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { crc32 as zlibCrc32 } from "node:zlib";
import { interleave } from "../lib/pairs.mjs";
import { makeSkip } from "../lib/results.mjs";
import { runMeasured } from "../lib/run.mjs";
import { compileC, findTool } from "../lib/tools.mjs";
import { assertEqual, compare, costOf } from "./stage.mjs";

const pythonScript = fileURLToPath(new URL("../reference/zlib_crc.py", import.meta.url));
const NATIVE = "@node-rs/crc32";

/** The C program of single steps, or why there is none. */
export function findPieces() {
	return compileC(fileURLToPath(new URL("../reference/pieces.c", import.meta.url)), []);
}

/**
 * @param {{ pairs: number, noiseFile: string, repeats: number }} options
 */
export async function measureChecksums({ pairs, noiseFile, repeats }) {
	const data = await readFile(noiseFile);
	const expected = zlibCrc32(data);
	const inNode = (crc32) => () => {
		const before = process.cpuUsage();
		const begun = performance.now();
		let crc = 0;
		for (let i = 0; i < repeats; i++) crc = crc32(data);
		const wallSeconds = (performance.now() - begun) / 1000;
		const { user, system } = process.cpuUsage(before);
		assertEqual("CRCs in Node", crc, expected);
		return { cpuSeconds: (user + system) / 1e6, wallSeconds };
	};
	const inProgram = (command, args) => async () => {
		const { stdout } = await runMeasured(command, args);
		const answer = JSON.parse(stdout);
		assertEqual(`CRCs of ${command}`, answer.crc, expected);
		return costOf(answer);
	};
	const variants = { [NATIVE]: inNode(nativeCrc32), "Node zlib": inNode(zlibCrc32) };
	const missing = {};
	const pieces = findPieces();
	if (pieces.skip === undefined) {
		variants.C = inProgram(pieces.path, ["crc", noiseFile, String(repeats)]);
	} else missing.C = pieces.skip;
	const python = findTool("python3");
	if (python.skip === undefined) {
		variants["Python zlib"] = inProgram(python.path, [pythonScript, noiseFile, String(repeats)]);
	} else missing["Python zlib"] = python.skip;
	const runs = await interleave({ variants, pairs });
	const bytes = data.length * repeats;
	return ["C", "Python zlib", "Node zlib"].flatMap((reference) =>
		missing[reference] === undefined
			? compare({ what: "crc", runs, bytes, ours: NATIVE, reference, hasWall: false })
			: [makeSkip(`crc: ${NATIVE} / ${reference}`, missing[reference])],
	);
}
