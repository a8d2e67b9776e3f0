import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "../checksum/crc32.ts";
import type { Entry, EntrySums, FinishedEntry } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import type { PlannedFile } from "../dcp/data-files.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "../dcp/torch-save.ts";
import { forEachAtOnce } from "../files/concurrently.ts";
import { statIfThere, unlessMissing } from "../files/read-file.ts";
import type { Finished } from "./journal.ts";
import { findDataFile } from "./output.ts";
import { syncDirectory } from "../files/sync-directory.ts";
import { writing } from "../files/writing.ts";

/** Files and entries of a share. */
export interface ShareFiles {
	/** Of the checkpoint: where the files go in the end. */
	readonly directory: string;
	/** All it has, with their final sizes. */
	readonly files: readonly PlannedFile[];
	readonly entries: readonly Entry[];
}

/** Copied at a time. */
const COPY_BYTES = 1024 * 1024;

/**
 * Those of `finished` whose file is whole in `attempt`, or at its final place already: a file that was deleted or cut since has lost
 * its entries.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function stillThere(
	share: ShareFiles,
	attempt: string,
	finished: Finished,
): Promise<Finished> {
	const whole = new Set<string>();
	await forEachAtOnce(share.files, async (file) => {
		if ((await findFile(share, attempt, file)) !== undefined) whole.add(file.name);
	});
	return new Map([...finished].filter(([index]) => whole.has(at(share.entries, index).file)));
}

/**
 * Copies finished entries from one attempt's files to another's. Each is read and compared with its CRC-32 on the way.
 *
 * @returns Those that were as they should be, durable in their new place.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function copyFinished(
	share: ShareFiles,
	from: string,
	to: string,
	finished: Finished,
): Promise<Finished> {
	const copied = new Map<number, EntrySums>();
	const byFile = groupByFile(share, finished);
	await forEachAtOnce(share.files, async (file) => {
		const wanted = byFile.get(file.name) ?? [];
		const source = wanted.length === 0 ? undefined : await findFile(share, from, file);
		if (source === undefined) return;
		// At its final place nobody writes to it any more.
		const isFinal = source === join(share.directory, file.name);
		const good = isFinal ? wanted : await copyFile(share, wanted, source, { file, to });
		for (const { index, ...sums } of good) copied.set(index, sums);
	});
	await writing("sync", to, () => syncDirectory(to));
	return copied;
}

function groupByFile(
	{ entries }: ShareFiles,
	finished: Finished,
): ReadonlyMap<string, readonly FinishedEntry[]> {
	const groups = new Map<string, FinishedEntry[]>();
	for (const [index, sums] of finished) {
		const { file } = at(entries, index);
		const group = groups.get(file) ?? [];
		groups.set(file, group);
		group.push({ ...sums, index });
	}
	return groups;
}

async function copyFile(
	{ entries }: ShareFiles,
	wanted: readonly FinishedEntry[],
	source: string,
	target: { readonly file: PlannedFile; readonly to: string },
): Promise<readonly FinishedEntry[]> {
	const path = join(target.to, target.file.name);
	return writing("copy", path, async () => {
		await using input = await open(source, "r");
		await using output = await open(path, "w");
		await output.truncate(target.file.bytes);
		const good: FinishedEntry[] = [];
		const buffer = Buffer.allocUnsafe(COPY_BYTES);
		for (const finished of wanted) {
			const entry = at(entries, finished.index);
			// What is wrong is fetched again, and written over.
			if (await copyEntry(input, output, { entry, crc: finished.crc32, buffer }))
				good.push(finished);
		}
		await output.datasync();
		return good;
	});
}

/** Copies an entry; tells whether its data was as it should be. */
async function copyEntry(
	input: FileHandle,
	output: FileHandle,
	{ entry, crc, buffer }: { readonly entry: Entry; readonly crc: number; readonly buffer: Buffer },
): Promise<boolean> {
	const { dtype, box } = entry;
	const { prefixBytes, dataBytes } = torchSaveFormat.geometry(dtype, box.size);
	const first = entry.offset + prefixBytes;
	let sum = 0;
	for (let done = 0; done < dataBytes;) {
		const wish = Math.min(buffer.length, dataBytes - done);
		const { bytesRead } = await input.read(buffer, 0, wish, first + done);
		if (bytesRead === 0) return false;
		const piece = buffer.subarray(0, bytesRead);
		sum = crc32(piece, sum);
		await writeAll(output, piece, first + done);
		done += bytesRead;
	}
	await writeAll(output, encodePrefix(dtype, box.size), entry.offset);
	await writeAll(output, encodeSuffix(dtype, box.size, crc), first + dataBytes);
	return sum === crc;
}

async function writeAll(output: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
	for (let done = 0; done < bytes.length;) {
		const { bytesWritten } = await output.write(bytes, done, bytes.length - done, position + done);
		done += bytesWritten;
	}
}

/**
 * Puts the files of a whole share in their final place. Can be done again after a crash in the middle.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function publishFiles(share: ShareFiles, attempt: string): Promise<void> {
	await forEachAtOnce(share.files, async ({ name, bytes }) => {
		const path = join(share.directory, name);
		const moved = await writing("rename", path, () =>
			unlessMissing(async () => {
				await rename(join(attempt, name), path);
				return true;
			}),
		);
		if (moved !== true) await findDataFile(path, bytes);
	});
	await writing("sync", share.directory, () => syncDirectory(share.directory));
}

/** Path of a file that is whole: in the attempt, or at its final place. */
async function findFile(
	{ directory }: ShareFiles,
	attempt: string,
	{ name, bytes }: PlannedFile,
): Promise<string | undefined> {
	for (const path of [join(attempt, name), join(directory, name)]) {
		if ((await statIfThere(path))?.size === bytes) return path;
	}
	return undefined;
}
