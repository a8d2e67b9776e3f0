import { CHECKSUMS } from "../checksum/crc32.ts";
import type { WriteCounters } from "../core/ports.ts";
import { addWrites } from "../dcp/data-files.ts";
import type { OpenedSource } from "../fetch/open-source.ts";
import type { JobSummary } from "../core/job-summary.ts";
import type { LayoutOrigin } from "./arrange-model.ts";
import type { WorkedShare } from "./run-job.ts";
import type { Plan, PlanTotals } from "../plan/types.ts";
import type { DeviceChoice } from "../threads/choose-device.ts";
import { type DeviceSummary, summariseDevice } from "../threads/device-run.ts";
import type { ThreadsReason } from "../threads/choose-threads.ts";
import type { Transport } from "../threads/count-events.ts";
import type { ShareSummary } from "../threads/run-share.ts";

/** What a worker did for a checkpoint that is whole now, or will be when others are done. */
export interface ConvertSummary {
	/**
	 * `committed`: this worker wrote the last of it. `others`: another one did, while this one was there. `left`: shares of others are
	 * unfinished, which it does not take over.
	 */
	readonly outcome: "committed" | "others" | "left";
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	/** Ranks of the training job whose entries are in the directory; `undefined` when all are. */
	readonly ranks: readonly number[] | undefined;
	/** What all workers did; `undefined` when shares are left. */
	readonly job: JobSummary | undefined;
	/** The whole plan. */
	readonly plan: Plan;
	/** What the plan promised: of the part that is in the directory. */
	readonly totals: PlanTotals;
	readonly sourceKind: OpenedSource["kind"];
	/** Name of the reshard back end. */
	readonly backend: string;
	/** The device that was chosen, why, and what it did. */
	readonly device: DeviceSummary;
	readonly seconds: number;
	/** Weight bytes requested by this worker; retried bytes are not counted twice. */
	readonly fetchedBytes: number;
	/** Requests for weight bytes by this worker, without retries. */
	readonly requests: number;
	readonly retries: number;
	/** How the weight bytes came over the network. */
	readonly transport: Transport;
	readonly headerBytes: number;
	/** Bytes of tensor data written by this worker. */
	readonly writtenBytes: number;
	/** How the data files were written, prefixes and suffixes of entries included. */
	readonly writes: WriteCounters;
	/** Bytes of tensor data that were gathered, converted or moved into phase before they were written. */
	readonly copiedBytes: number;
	/** What computed the checksums: the native package, or Node's zlib. */
	readonly checksums: typeof CHECKSUMS;
	readonly metadataBytes: number;
	/** As in {@link Preparation}. */
	readonly wholeQkvBytes: number;
	/** Where the layout came from, if not from a mesh. */
	readonly layoutOrigin?: LayoutOrigin | undefined;
	/** Entries of its shares that earlier attempts had finished. */
	readonly resumedEntries: number;
	/** Most staging memory that was in use at once, added up over the threads. */
	readonly peakStagingBytes: number;
	/** What it did, share by share. */
	readonly shares: readonly WorkedShare[];
	/** What the threads did that worked on its first share. */
	readonly threads: readonly ShareSummary[];
	/** Why there were as many. */
	readonly threadsReason: ThreadsReason;
	readonly warnings: readonly string[];
}

/** A checkpoint that the same command finished before. */
export interface FoundSummary {
	readonly outcome: "found";
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	readonly job: JobSummary;
}

/** What all shares of a worker come to. */
export function workOf(
	shares: readonly WorkedShare[],
	device: DeviceChoice,
): Pick<
	ConvertSummary,
	| "backend"
	| "device"
	| "fetchedBytes"
	| "requests"
	| "writtenBytes"
	| "writes"
	| "copiedBytes"
	| "resumedEntries"
	| "peakStagingBytes"
	| "shares"
	| "threads"
	| "threadsReason"
> {
	const all = shares.flatMap(({ threads }) => threads);
	const sum = (of: (thread: ShareSummary) => number): number =>
		all.reduce((total, thread) => total + of(thread), 0);
	const [first] = shares;
	const peaks = shares.map(({ threads }) =>
		threads.reduce((total, { peakStagingBytes }) => total + peakStagingBytes, 0),
	);
	return {
		backend: all[0]?.backend ?? "",
		device: summariseDevice(device, all),
		fetchedBytes: sum(({ fetchedBytes }) => fetchedBytes),
		requests: sum(({ requests }) => requests),
		writtenBytes: sum(({ writtenBytes }) => writtenBytes),
		writes: addWrites(
			all[0]?.writes.mode ?? "buffered",
			all.map(({ writes }) => writes),
		),
		copiedBytes: sum(({ copiedBytes }) => copiedBytes),
		resumedEntries: shares.reduce((total, { resumedEntries }) => total + resumedEntries, 0),
		peakStagingBytes: Math.max(0, ...peaks),
		shares,
		threads: first?.threads ?? [],
		threadsReason: first?.threadsReason ?? "parts",
	};
}
