import { HfStreamDcpError } from "../core/errors.ts";

/** What a failed system call means for the user, by the operating system's code. */
const FAILURES: { readonly [code: string]: { readonly what: string; readonly hint: string } } = {
	ENOSPC: {
		what: "the disk is full",
		hint: "Free space there, then run the same command again: what is finished is kept.",
	},
	EDQUOT: {
		what: "the disk quota is used up",
		hint: "Raise the quota or free space, then run the same command again: what is finished is kept.",
	},
	EACCES: { what: "permission denied", hint: "Choose a directory that you may write to." },
	EPERM: { what: "permission denied", hint: "Choose a directory that you may write to." },
	EROFS: {
		what: "the file system is read-only",
		hint: "Choose a directory on a file system that is mounted for writing.",
	},
	ENOTDIR: { what: "a part of the path is a file", hint: "Choose another path." },
	EEXIST: { what: "a file of that name is in the way", hint: "Choose another path." },
	EISDIR: { what: "a directory of that name is in the way", hint: "Choose another path." },
	ENAMETOOLONG: { what: "the path is too long", hint: "Choose a shorter path." },
	EFBIG: {
		what: "the file is larger than the file system or the process may have",
		hint: "Choose another file system, or raise the limit (`ulimit -f`).",
	},
	EMFILE: {
		what: "too many open files",
		hint: "Raise the limit (`ulimit -n`) and run the same command again.",
	},
	EIO: {
		what: "the disk or network file system reported an I/O error",
		hint: "Check the storage, then run the same command again.",
	},
	ENOENT: {
		what: "the directory disappeared",
		hint: "Do not move or delete the directory while it is written.",
	},
};

/**
 * A failed file operation as an `OUTPUT_WRITE` error with a hint. Anything that is not a failed system call is returned as it is.
 *
 * @param doing - What was tried: `write`, `create`, `sync`.
 */
function outputError(cause: unknown, doing: string, path: string): unknown {
	if (!(cause instanceof Error) || !("code" in cause) || !("syscall" in cause)) return cause;
	const code = String(cause.code);
	const failure = FAILURES[code];
	return new HfStreamDcpError(
		"OUTPUT_WRITE",
		`cannot ${doing} ${path}: ${failure?.what ?? cause.message}`,
		{ hint: failure?.hint, facts: { path, errno: code }, cause },
	);
}

/**
 * Runs a file operation and gives its failure a type.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE` when a system call of `operation` fails.
 */
export async function writing<T>(
	doing: string,
	path: string,
	operation: () => Promise<T>,
): Promise<T> {
	try {
		return await operation();
	} catch (error) {
		throw outputError(error, doing, path);
	}
}
