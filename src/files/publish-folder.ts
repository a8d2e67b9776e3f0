import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isThere } from "./read-file.ts";
import { replaceFile, temporaryName } from "./replace-file.ts";
import { syncDirectory } from "./sync-directory.ts";
import { writing } from "./writing.ts";

/**
 * Makes a folder with one file in it appear at `path`, all at once. A folder cannot be renamed onto one that is not empty, so of
 * several processes that do so at the same time the first one's stays.
 *
 * @returns Whether it is this process's.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`, also when the folder above is missing.
 */
export async function publishFolder(
	path: string,
	name: string,
	bytes: Uint8Array,
): Promise<boolean> {
	const temporary = temporaryName(path);
	return writing("create", path, async () => {
		await mkdir(temporary);
		try {
			await replaceFile(join(temporary, name), bytes);
			await rename(temporary, path);
			await syncDirectory(dirname(path));
			return true;
		} catch (error) {
			await rm(temporary, { recursive: true, force: true }).catch(() => {});
			// Not by the code: EEXIST, ENOTEMPTY, and over SFTP, which has no code for it, EPERM.
			if (await isThere(join(path, name))) return false;
			throw error;
		}
	});
}
