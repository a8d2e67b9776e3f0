import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { writing } from "./output-error.ts";
import { syncDirectory } from "./sync-directory.ts";

/**
 * Puts a whole file in place at once: written to `<path>.tmp`, synced, renamed, and the directory synced. After a crash there is
 * either the old file or all of the new one.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
	await writing("write", path, async () => {
		const temporary = `${path}.tmp`;
		const handle = await open(temporary, "w");
		try {
			await handle.writeFile(bytes);
			await handle.sync();
		} finally {
			await handle.close();
		}
		await rename(temporary, path);
		await syncDirectory(dirname(path));
	});
}
