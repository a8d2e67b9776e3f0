import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import { isSafePath, type RepoFile, type RepoFiles, sourceError } from "./repo-files.ts";

/**
 * The files of a local directory; links are followed.
 *
 * @param root - Absolute path.
 * @param name - What messages call it.
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when it is no directory that can be listed.
 */
export async function listDirectory(root: string, name: string): Promise<RepoFiles> {
	let names: string[];
	try {
		names = await readdir(root);
	} catch (error) {
		throw new HfStreamDcpError("SOURCE_UNREADABLE", `${root} cannot be listed`, {
			hint: "Give the path of a directory that you may read, or the name of a Hub repository.",
			facts: { path: root },
			cause: error,
		});
	}
	const find = (path: string): Promise<RepoFile | undefined> => findFile(root, path);
	const found = await Promise.all(names.toSorted().map(find));
	return {
		name,
		list: found.filter((file) => file !== undefined),
		find,
		read: (path, limitBytes) => readSmallFile(root, path, limitBytes),
	};
}

async function findFile(root: string, path: string): Promise<RepoFile | undefined> {
	if (!isSafePath(path)) return undefined;
	try {
		const info = await stat(join(root, path));
		return info.isFile() ? { path, bytes: info.size } : undefined;
	} catch {
		// What cannot be looked at is not there for us: a broken link, a folder that is closed to us.
		return undefined;
	}
}

async function readSmallFile(root: string, path: string, limitBytes: number): Promise<Uint8Array> {
	const full = join(root, path);
	try {
		const { size } = await stat(full);
		if (size > limitBytes) {
			throw sourceError(
				`${full} has ${size} bytes, more than the ${limitBytes} that are read of such a file`,
				"This is not the file it should be; get it again.",
				{ path: full, bytes: size },
			);
		}
		return await readFile(full);
	} catch (error) {
		if (error instanceof HfStreamDcpError) throw error;
		throw new HfStreamDcpError("SOURCE_UNREADABLE", `${full} cannot be read`, {
			hint: "Check that the file exists and that you may read it.",
			facts: { path: full },
			cause: error,
		});
	}
}
