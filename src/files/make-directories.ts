import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { isTaken } from "./is-taken.ts";
import { syncDirectory } from "./sync-directory.ts";
import { writing } from "./writing.ts";

/**
 * Creates a directory and those above it, durably, where they are missing.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function makeDirectories(path: string): Promise<void> {
	await writing("create", path, () => make(path, false));
}

/** Like `mkdir` with `recursive`, which in Node 20 reports a read-only file system as a missing directory. */
async function make(path: string, hasParent: boolean): Promise<void> {
	try {
		await mkdir(path);
		// Its files are synced into it; it must itself outlive a crash.
		await syncDirectory(dirname(path));
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if ((await isTaken(error, path)) && (await stat(path)).isDirectory()) return;
		if (code !== "ENOENT" || hasParent) throw error;
		await make(dirname(path), false);
		await make(path, true);
	}
}
