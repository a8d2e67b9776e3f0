import { constants } from "node:fs";
import { type FileHandle, open, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import { allocatePages } from "../core/page-memory.ts";
import { PAGE_BYTES } from "../core/pages.ts";
import type { WriteCounters } from "../core/ports.ts";

/** Whether data files are written past the page cache or through it. */
export type WriteMode = WriteCounters["mode"];

/** A file of this name is created and removed again. */
const PROBE_NAME = ".hf-stream-dcp.probe";

/**
 * File systems in memory. They accept O_DIRECT and have nothing but the page cache.
 *
 * @see Linux `include/uapi/linux/magic.h`: `TMPFS_MAGIC`, `RAMFS_MAGIC`
 */
const MEMORY_FILE_SYSTEMS: ReadonlySet<number> = new Set([0x0102_1994, 0x8584_58f6]);

/**
 * Tries out whether the files of a directory can be written past the page cache: whether two pages that were written so, the file
 * being larger, are read back as they are. Never fails; what is wrong with the directory shows when it is used.
 */
export async function probeWriteMode(directory: string): Promise<WriteMode> {
	// Not Linux.
	if (constants.O_DIRECT === undefined) return "buffered";
	const path = join(directory, PROBE_NAME);
	try {
		const { type } = await statfs(directory);
		if (MEMORY_FILE_SYSTEMS.has(type)) return "buffered";
		await unlink(path).catch(() => {});
		const flags = constants.O_DIRECT | constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
		const handle = await open(path, flags, 0o600);
		try {
			return (await keepsPages(handle)) ? "direct" : "buffered";
		} finally {
			await handle.close();
			await unlink(path);
		}
	} catch {
		return "buffered";
	}
}

async function keepsPages(handle: FileHandle): Promise<boolean> {
	const bytes = 2 * PAGE_BYTES;
	const memory = allocatePages(2 * bytes);
	const written = memory.subarray(0, bytes).map((_, index) => (index * 31 + 7) % 251);
	memory.set(written);
	await handle.truncate(4 * bytes);
	const { bytesWritten } = await handle.write(memory, 0, bytes, bytes);
	const { bytesRead } = await handle.read(memory, bytes, bytes, bytes);
	const read = memory.subarray(bytes);
	return bytesWritten === bytes && bytesRead === bytes && Buffer.compare(read, written) === 0;
}
