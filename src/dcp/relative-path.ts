import { posix, win32 } from "node:path";
import { corrupt, quote } from "./corrupt.ts";

/**
 * A path from a `.metadata` file, proven to stay inside the checkpoint's directory. torch itself follows any path.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` for an absolute path, one with `..`, or none.
 */
export function checkRelativePath(path: string): string {
	const parts = path.split(/[/\\]/);
	const escapes =
		posix.isAbsolute(path) ||
		win32.isAbsolute(path) ||
		/^[A-Za-z]:/.test(path) ||
		parts.includes("..");
	if (path === "" || path.includes("\0") || escapes) {
		throw corrupt(`the metadata names the file ${quote(path)}, which is not inside the checkpoint`);
	}
	return path;
}
