import { resolve } from "node:path";
import type { EventListener } from "./core/events.ts";
import { DEFAULT_MEMORY_BYTES } from "./options.ts";
import { type CheckpointComparison, compareCheckpoints } from "./verify/against-checkpoint.ts";

/** What every comparison may be told. */
export interface ComparisonOptions {
	/** Directory of the checkpoint. */
	readonly directory: string;
	/** As of one thread of a conversion. Bytes. @default 268435456 (256 MiB) */
	readonly memoryBytes?: number | undefined;
	/** Stops the work; the call then rejects with `signal.reason`. */
	readonly signal?: AbortSignal | undefined;
	/** Told what happens. One that throws is ignored. */
	readonly onEvent?: EventListener | undefined;
}

/** What {@link verifyAgainstCheckpoint} looks at, and how. */
export interface VerifyAgainstCheckpointOptions extends ComparisonOptions {
	/** Directory of the checkpoint that says what must be there; its layout may be any, and torch may have written it. */
	readonly other: string;
	/** Names of the tensors to compare: `*` is any text, `?` any character. @default all */
	readonly tensors?: string | undefined;
	/** Whether a tensor that only one of them has is no problem. @default false */
	readonly ignoreMissing?: boolean | undefined;
}

/**
 * Compares two checkpoints with any layouts, this program's or torch's: names, dtypes, shapes, and every bit. Pickled objects are compared
 * as bytes; that they differ is a note.
 *
 * @returns What was found; `problems` is empty when both hold the same.
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE`; `CHECKPOINT_CORRUPT` when one of them is damaged; `DTYPE_UNSUPPORTED`.
 */
export function verifyAgainstCheckpoint(
	options: VerifyAgainstCheckpointOptions,
): Promise<CheckpointComparison> {
	const { directory, other, memoryBytes = DEFAULT_MEMORY_BYTES } = options;
	return compareCheckpoints({
		...options,
		directory: resolve(directory),
		other: resolve(other),
		memoryBytes,
	});
}
