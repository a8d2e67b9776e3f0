import type { EntryVerdict, VerifyLevel } from "./entry-check.ts";
import type { FileRange } from "./read-ahead.ts";
import type { ScanUnit } from "./scan-unit.ts";

/** What a thread that scans is given when it starts. */
export interface ScanTask {
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	readonly level: VerifyLevel;
	/** Length of the longest unit. */
	readonly mostBytes: number;
}

/** What the main thread tells such a thread: the next unit. */
export interface ToScanThread {
	/** Counts the units. */
	readonly index: number;
	readonly unit: ScanUnit;
}

/** What such a thread tells the main thread. */
export type FromScanThread =
	/** What was found out since the last message. */
	| {
			readonly kind: "found";
			readonly unit: number;
			readonly verdicts: readonly (readonly [item: number, verdict: EntryVerdict])[];
			readonly paddings: readonly FileRange[];
			readonly unreadable: string | undefined;
			readonly bytes: number;
	  }
	/** It is ready for a unit. */
	| { readonly kind: "ready" };
