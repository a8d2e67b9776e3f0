import { statIfThere } from "./read-file.ts";

/**
 * Whether a file or directory could not be created because another process was faster. Over SFTP, which has one code for all that
 * fails, a lost race is `EPERM`; who won it is seen by what is there now.
 *
 * @param error - Of an exclusive create of `path`, or a `mkdir`.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE` when nobody can tell.
 */
export async function isTaken(error: unknown, path: string): Promise<boolean> {
	const { code } = error as NodeJS.ErrnoException;
	if (code !== "EPERM") return code === "EEXIST";
	return (await statIfThere(path)) !== undefined;
}
