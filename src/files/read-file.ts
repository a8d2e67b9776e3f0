import { open, readdir, readFile, stat } from "node:fs/promises";
import { writing } from "./writing.ts";

/** Whether a failure says that there is nothing at a path. */
export function isMissing(error: unknown): boolean {
	const { code } = error as NodeJS.ErrnoException;
	return code === "ENOENT" || code === "ENOTDIR";
}

/** What `operation` gives; `undefined` when it fails because there is nothing at the path. */
export async function unlessMissing<T>(operation: () => Promise<T>): Promise<T | undefined> {
	try {
		return await operation();
	} catch (error) {
		if (isMissing(error)) return undefined;
		throw error;
	}
}

/**
 * Text of a file, or `undefined` when there is none.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export function readTextIfThere(path: string): Promise<string | undefined> {
	return writing("read", path, () => unlessMissing(() => readFile(path, "utf8")));
}

/**
 * Names in a directory; none when there is no such directory.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function listIfThere(path: string): Promise<readonly string[]> {
	return (await writing("read", path, () => unlessMissing(() => readdir(path)))) ?? [];
}

/**
 * Whether there is a file. It is opened, not only looked up: network file systems then ask the server.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function isThere(path: string): Promise<boolean> {
	const handle = await writing("read", path, () => unlessMissing(() => open(path, "r")));
	await handle?.close();
	return handle !== undefined;
}

/** What `stat` says of a file; the size in bytes, `blocks` in units of 512 bytes, which do not count holes. */
export interface FileFacts {
	readonly size: number;
	readonly blocks: number;
}

/**
 * Facts of a file, or `undefined` when there is none.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export function statIfThere(path: string): Promise<FileFacts | undefined> {
	return writing("inspect", path, () => unlessMissing(() => stat(path)));
}
