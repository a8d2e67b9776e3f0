// Stage: bytes in memory → durable on the disk. Ours is the checkpoint writer, from opening the directory to the commit.
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { readFile, stat } from "node:fs/promises";
import { interleave } from "../lib/pairs.mjs";
import { makeSkip } from "../lib/results.mjs";
import { runMeasured } from "../lib/run.mjs";
import { findTool } from "../lib/tools.mjs";
import { findPieces } from "./checksum.mjs";
import { assertEqual, compare, costOf } from "./stage.mjs";

const writer = fileURLToPath(new URL("./write-child.mjs", import.meta.url));
const MiB = 2 ** 20;
/** A conversion writes blocks of this size; C and dd are fastest with it as well. */
const BLOCK_BYTES = 4 * MiB;

/**
 * @param {{ pairs: number, noiseFile: string, entries: number, disk: string }} options every entry has the bytes of `noiseFile`
 */
export async function measureWriting({ pairs, noiseFile, entries, disk }) {
	const entryBytes = (await stat(noiseFile)).size;
	const bytes = entryBytes * entries;
	const directory = join(disk, "written");
	const setup = { directory, noiseFile, entries, blockBytes: BLOCK_BYTES };
	const ours = async () => {
		await rm(directory, { recursive: true, force: true });
		const { stdout } = await runMeasured(process.execPath, [writer, JSON.stringify(setup)]);
		return JSON.parse(stdout);
	};
	await checkWritten(await ours(), { directory, noiseFile, entries, entryBytes });
	const repeated = (run) => async () => {
		let [cpuSeconds, wallSeconds] = [0, 0];
		for (let i = 0; i < entries; i++) {
			const file = join(disk, `written-${i}`);
			await rm(file, { force: true });
			const cost = await run(file);
			cpuSeconds += cost.cpuSeconds;
			wallSeconds += cost.wallSeconds;
		}
		return { cpuSeconds, wallSeconds };
	};
	const variants = { ours: async () => costOf(await ours()) };
	const missing = {};
	const add = (name, tool, run) => {
		if (tool.skip === undefined) variants[name] = repeated(run);
		else missing[name] = tool.skip;
	};
	const pieces = findPieces();
	for (const mode of ["buffered", "direct"]) {
		add(`C ${mode}`, pieces, async (file) => {
			const args = ["write", noiseFile, file, String(BLOCK_BYTES), mode];
			return JSON.parse((await runMeasured(pieces.path, args)).stdout);
		});
	}
	const dd = findTool("dd");
	for (const flag of ["conv=fsync", "oflag=direct"]) {
		add(`dd ${flag}`, dd, (file) =>
			runMeasured(dd.path, [`if=${noiseFile}`, `of=${file}`, `bs=${BLOCK_BYTES}`, flag]),
		);
	}
	const runs = await interleave({ variants, pairs });
	return ["C buffered", "C direct", "dd conv=fsync", "dd oflag=direct"].flatMap((reference) =>
		missing[reference] === undefined
			? compare({ what: "write", runs, bytes, reference })
			: [makeSkip(`write: ours / ${reference}`, missing[reference])],
	);
}

async function checkWritten({ dataOffset }, { directory, noiseFile, entries, entryBytes }) {
	const expected = crc32(await readFile(noiseFile));
	for (let i = 0; i < entries; i++) {
		const file = await open(join(directory, `__${i}_0.distcp`));
		const got = Buffer.allocUnsafe(entryBytes);
		await file.read(got, 0, entryBytes, dataOffset);
		await file.close();
		assertEqual("bytes that the writer wrote", crc32(got), expected);
	}
}
