import type { VerifyLevel } from "./entry-check.ts";
import type { Problem } from "./problem.ts";

/** What of a checkpoint was looked at. */
export interface VerifyCounts {
	readonly tensors: number;
	readonly entries: number;
	/** Entries that are on the disks of other ranks (`--local-output`). */
	readonly elsewhere: number;
	/** Values that are no tensors. */
	readonly objects: number;
	/** Data files that are there. */
	readonly files: number;
	/** Their size. */
	readonly fileBytes: number;
	/** Bytes that were read of them. */
	readonly readBytes: number;
	/** Entries whose container is what `torch.save` writes, byte for byte. */
	readonly canonical: number;
	/** CRC-32s of data that were compared, with the container and, where there is one, the manifest. */
	readonly crcs: number;
	/** SHA-256s of data that were compared with the manifest. */
	readonly hashes: number;
}

/** What a manifest says of where a checkpoint comes from. */
export interface VerifiedOrigin {
	readonly repo: string;
	readonly commit: string;
	/** Version of the program that wrote it. */
	readonly tool: string;
}

/** What verifying a checkpoint found out. */
export interface VerifyReport {
	readonly directory: string;
	readonly level: VerifyLevel;
	/** Whether nothing is wrong, as far as the level looks. */
	readonly isGood: boolean;
	/** `undefined` without a manifest: then contents are compared with what the containers state, and nothing else. */
	readonly origin: VerifiedOrigin | undefined;
	readonly counts: VerifyCounts;
	readonly seconds: number;
	/** All that were found, of which `problems` has the first. */
	readonly problemCount: number;
	readonly problems: readonly Problem[];
	/** What is worth knowing and not wrong. */
	readonly warnings: readonly string[];
}

/** How far verifying is. */
export interface VerifyProgress {
	readonly checkedBytes: number;
	/** Of the data files. */
	readonly totalBytes: number;
	readonly checkedEntries: number;
	readonly entries: number;
	readonly problems: number;
}
