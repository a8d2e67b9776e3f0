import { statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import type { PlannedFile } from "../dcp/data-files.ts";
import { forEachAtOnce } from "../files/concurrently.ts";
import { listIfThere, statIfThere, unlessMissing } from "../files/read-file.ts";
import { syncDirectory } from "../files/sync-directory.ts";
import { writing } from "../files/writing.ts";
import { MANIFEST_NAME } from "../manifest/manifest.ts";
import { SUMMARY_NAME } from "./state.ts";

/** `.metadata`, or `__{rank}.metadata`, which torch writes without collectives and reads when `.metadata` is missing. */
const METADATA_PATTERN = /^(?:__\d+)?\.metadata$/;
/** Data files as torch and this program name them. */
const DATA_PATTERN = /^__\d+_\d+\.distcp$/;
/** Room to leave for `.metadata`, the manifest, the journals and the file system's own blocks, for each entry. */
const OVERHEAD_BYTES_PER_ENTRY = 512;

/** What of a checkpoint lies in a directory, by name. */
export interface FoundCheckpoint {
	/** Of a finished one. */
	readonly metadata: readonly string[];
	readonly data: readonly string[];
}

/**
 * Looks for a checkpoint, finished or not.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function findCheckpoint(directory: string): Promise<FoundCheckpoint> {
	const names = await listIfThere(directory);
	return {
		metadata: names.filter((name) => METADATA_PATTERN.test(name)),
		data: names.filter((name) => DATA_PATTERN.test(name)),
	};
}

/**
 * Removes a checkpoint: metadata first, so that no moment shows a whole one that is not. Other files stay.
 *
 * @param isAllowed - Asked before each file: whether they are still this process's to remove. A process that is stopped right after
 * the answer, and goes on when another one has removed the files and written new ones, removes one of those.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function removeCheckpoint(
	directory: string,
	isAllowed: () => Promise<boolean>,
): Promise<void> {
	const { metadata, data } = await findCheckpoint(directory);
	for (const group of [metadata, [SUMMARY_NAME, MANIFEST_NAME], data]) {
		for (const name of group) {
			if (!(await isAllowed())) return;
			const path = join(directory, name);
			await writing("remove", path, () => unlessMissing(() => unlink(path)));
		}
		await writing("sync", directory, () => syncDirectory(directory));
	}
}

/**
 * Makes sure that every data file is there, at its size.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function findDataFiles(
	directory: string,
	files: readonly PlannedFile[],
): Promise<void> {
	await forEachAtOnce(files, async ({ name, bytes }) => {
		await findDataFile(join(directory, name), bytes);
	});
}

/**
 * Makes sure that a data file is there, at its size.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function findDataFile(path: string, bytes: number): Promise<void> {
	const size = (await statIfThere(path))?.size;
	if (size === bytes) return;
	const found =
		size === undefined
			? "disappeared while the checkpoint was written"
			: `has ${size} bytes instead of ${bytes}`;
	throw new HfStreamDcpError("OUTPUT_WRITE", `${path} ${found}`, {
		hint: "Something else writes into the directory. Stop it, then run the same command again.",
		facts: { path, size, bytes },
	});
}

/**
 * Fails when the bytes of `files` exceed the free space and what the files occupy that are to be removed.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function checkSpace(
	directory: string,
	demand: {
		readonly files: readonly PlannedFile[];
		readonly entries: number;
		/** Names of the files that will be removed first. */
		readonly freed: readonly string[];
	},
): Promise<void> {
	const { bavail, bsize, blocks } = await writing("inspect", directory, () => statfs(directory));
	// Some network and FUSE file systems do not know.
	if (blocks === 0) return;
	let usableBytes = bavail * bsize;
	await forEachAtOnce(demand.freed, async (name) => {
		const facts = await statIfThere(join(directory, name));
		// Unlike `size`, this does not count holes. `st_blocks` counts units of 512 bytes on every system.
		usableBytes += (facts?.blocks ?? 0) * 512;
	});
	const planBytes = demand.files.reduce((sum, { bytes }) => sum + bytes, 0);
	const neededBytes = planBytes + demand.entries * OVERHEAD_BYTES_PER_ENTRY;
	if (neededBytes <= usableBytes) return;
	throw new HfStreamDcpError(
		"OUTPUT_WRITE",
		`the checkpoint takes ${inUnits(neededBytes)}, and ${directory} has room for ${inUnits(usableBytes)}`,
		{
			hint: `Free ${inUnits(neededBytes - usableBytes)} more there, or choose a directory on another disk.`,
			facts: { directory, neededBytes, usableBytes },
		},
	);
}

/** `1.5 GiB`, rounded up so that freeing this much is enough. */
function inUnits(bytes: number): string {
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	let value = bytes;
	let unit = 0;
	while (value >= 1024 && unit < units.length - 1) {
		value /= 1024;
		unit++;
	}
	return `${Math.ceil(value * 10) / 10} ${units[unit]}`;
}
