import { resolve } from "node:path";
import { readMachine } from "./threads/machine.ts";
import type { VerifyLevel } from "./verify/entry-check.ts";
import type { VerifyProgress, VerifyReport } from "./verify/report.ts";
import { verifyDirectory } from "./verify/verify-directory.ts";

/** What {@link verifyCheckpoint} is to do. */
export interface VerifyOptions {
	/** A DCP directory, ours or torch's. */
	readonly directory: string;
	/**
	 * `quick`: the structure. `data`: also every byte of the data files, against CRC-32s. `hashes`: also against the SHA-256s of the manifest.
	 *
	 * @default "data"
	 */
	readonly level?: VerifyLevel | undefined;
	/**
	 * Threads that read and compare. By default one, and for hashes, or many gigabytes on a machine of many cores, more.
	 *
	 * @default "auto"
	 */
	readonly threads?: number | "auto" | undefined;
	readonly signal?: AbortSignal | undefined;
	/** Called for every few megabytes; must be quick. */
	readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/**
 * Verifies a checkpoint: whether it is whole, and as it was written as far as the level looks. Nothing in it is executed. Described in
 * `docs/verify.md`.
 *
 * @returns The report; damage is not thrown.
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when there is no checkpoint; `OPTIONS_INVALID` for the level `hashes` when its manifest has
 * none; `DTYPE_UNSUPPORTED`.
 */
export function verifyCheckpoint(options: VerifyOptions): Promise<VerifyReport> {
	const { directory, level = "data", threads = "auto", signal, onProgress } = options;
	const { cores } = readMachine();
	return verifyDirectory({
		directory: resolve(directory),
		level,
		threads,
		cores,
		signal,
		onProgress,
	});
}
