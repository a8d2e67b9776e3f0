import { HfStreamDcpError } from "../core/errors.ts";

/**
 * Runs a read and gives a failed system call a type.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when the file or directory is missing or cannot be read.
 */
export async function reading<T>(path: string, operation: () => Promise<T>): Promise<T> {
	try {
		return await operation();
	} catch (error) {
		if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) throw error;
		const isMissing = error.code === "ENOENT" || error.code === "ENOTDIR";
		const message = isMissing ? `${path} does not exist` : `cannot read ${path}: ${error.message}`;
		throw new HfStreamDcpError("SOURCE_UNREADABLE", message, {
			hint: isMissing ? "Check the path." : "Check its permissions and the storage.",
			facts: { path, errno: String(error.code) },
			cause: error,
		});
	}
}
