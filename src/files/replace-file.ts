import { randomBytes } from "node:crypto";
import { open, rename, unlink, writeFile } from "node:fs/promises";
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
	await using staged = await stageFile(path, bytes);
	await staged.publish();
}

/** A file that is durable under a name of its own beside its place. Disposal removes it if it was not put there. */
export interface StagedFile extends AsyncDisposable {
	/**
	 * Puts it in its place, durably.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	publish(): Promise<void>;
}

/**
 * Does the first half of {@link replaceFile}: for files that take long to write, so that what must be looked at right before they
 * appear can be.
 *
 * @param contents - Bytes, or pieces of text that are written one after the other.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function stageFile(
	path: string,
	contents: Uint8Array | Iterable<string>,
): Promise<StagedFile> {
	const temporary = temporaryName(path);
	const remove = (): Promise<void> => unlink(temporary).catch(() => {});
	await writing("write", path, async () => {
		try {
			await using handle = await open(temporary, "wx");
			await writeFile(handle, contents);
			await handle.sync();
		} catch (error) {
			await remove();
			throw error;
		}
	});
	let isThere = false;
	return {
		async publish() {
			await writing("write", path, async () => {
				await rename(temporary, path);
				isThere = true;
				await syncDirectory(dirname(path));
			});
		},
		async [Symbol.asyncDispose]() {
			if (!isThere) await remove();
		},
	};
}

/** `path` with an ending that no other process will choose; {@link isTemporaryName} knows it. */
export function temporaryName(path: string): string {
	return `${path}.${randomBytes(6).toString("hex")}.tmp`;
}

/** Whether `name` is what a crash in the middle of a {@link replaceFile} may leave behind. */
export function isTemporaryName(name: string): boolean {
	return /\.[0-9a-f]{12}\.tmp$/.test(name);
}
