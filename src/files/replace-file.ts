import { randomBytes } from "node:crypto";
import { open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { syncDirectory } from "./sync-directory.ts";
import { writing } from "./writing.ts";

/**
 * Puts a whole file in place at once: written under a name of its own beside `path`, synced, renamed, and the directory synced. After
 * a crash there is either the old file or all of the new one. Several processes may do so at the same time: one of their files stays.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
	await writing("write", path, async () => {
		const temporary = temporaryName(path);
		try {
			const handle = await open(temporary, "wx");
			try {
				await handle.writeFile(bytes);
				await handle.sync();
			} finally {
				await handle.close();
			}
			await rename(temporary, path);
		} catch (error) {
			await unlink(temporary).catch(() => {});
			throw error;
		}
		await syncDirectory(dirname(path));
	});
}

/** `path` with an ending that no other process will choose; {@link isTemporaryName} knows it. */
export function temporaryName(path: string): string {
	return `${path}.${randomBytes(6).toString("hex")}.tmp`;
}

/** Whether `name` is what a crash in the middle of a {@link replaceFile} may leave behind. */
export function isTemporaryName(name: string): boolean {
	return /\.[0-9a-f]{12}\.tmp$/.test(name);
}
