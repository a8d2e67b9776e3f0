import type { GpuCounters } from "../core/device.ts";
import type { ProgressEvent } from "../core/events.ts";
import type { FinishedEntry, HashOption } from "../core/ports.ts";
import type { WriteMode } from "../dcp/write-mode.ts";
import type { HubEnvironment } from "../fetch/environment.ts";
import type { SourceDescription } from "../fetch/reopen-source.ts";
import type { PlanShare } from "../plan/share.ts";
import type { ErrorRecord } from "./error-record.ts";
import type { ShareSummary } from "./run-share.ts";

/** What a thread reshards with: the CPU, a GPU wherever it can do the work, or a GPU where it is quicker. */
export type ThreadDevice = "cpu" | "webgpu" | "webgpu where quicker";

/** What a thread is given when it starts. Plain data, copied once. */
export interface ThreadTask {
	readonly share: PlanShare;
	/** 1 for the entries of the share that an earlier run had finished. */
	readonly finished: Uint8Array;
	/** Of the checkpoint; it exists and the main thread owns it. */
	readonly directory: string;
	readonly source: SourceDescription;
	readonly environment: HubEnvironment;
	/** Where the workers of the job share the Hub's rate limits: the directory of a `createRateBoard`. @default not shared */
	readonly limits?: string | undefined;
	/** This thread's part of the connections. */
	readonly connections: number;
	/** This thread's part of the descriptors that may be open. */
	readonly maxOpenFiles: number;
	/** How data files are written. */
	readonly writeMode: WriteMode;
	/** What is computed of every entry beside its CRC-32. */
	readonly hash: HashOption;
	/** What reshards. A thread that uses a GPU is a process of its own. */
	readonly device: ThreadDevice;
}

/** What the main thread tells a thread that runs a share. */
export type ToThread =
	/** Stop, and flush what is finished. */
	| { readonly kind: "abort" }
	/** Answers a `record`: in the journal, or why not. */
	| { readonly kind: "recorded"; readonly error: ErrorRecord | undefined };

/** What such a thread tells the main thread. Indices are those of the whole plan. No bytes of tensors are ever among it. */
export type FromThread =
	| {
			readonly kind: "progress";
			/** Totals of this thread. */
			readonly receivedBytes: number;
			readonly writtenBytes: number;
			/** What else happened since the last message, in order. */
			readonly events: readonly ProgressEvent[];
	  }
	/** These entries' files were synced. Answered by `recorded`; one is asked at a time. */
	| { readonly kind: "record"; readonly finished: readonly FinishedEntry[] }
	/** Once a second, by a process: that it is alive, and what its GPU did so far. */
	| { readonly kind: "alive"; readonly gpu: GpuCounters | undefined }
	/** The GPU failed at something, which the CPU does instead. */
	| { readonly kind: "trouble"; readonly reason: string }
	/** The last message: all of the share is done. */
	| { readonly kind: "done"; readonly summary: ShareSummary }
	/** The last message: what is finished was flushed, and nothing is open any more. */
	| { readonly kind: "failed"; readonly error: ErrorRecord };
