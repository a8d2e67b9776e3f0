import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import type { EventListener } from "../../src/core/events.ts";
import type { Entry, EntrySink } from "../../src/core/ports.ts";
import type { PlannedFile } from "../../src/dcp/data-files.ts";
import { createEntryWriter, type EntryWriter } from "../../src/dcp/entry-writer.ts";
import type { WriteMode } from "../../src/dcp/write-mode.ts";
import { commitJob } from "../../src/job/commit.ts";
import { type HeldShare, openShare } from "../../src/job/held-share.ts";
import { joinJob } from "../../src/job/job.ts";
import { prepareJob } from "../../src/job/prepare.ts";
import { shareTurns } from "../../src/job/share-turns.ts";
import type { JobSummary } from "../../src/core/job-summary.ts";

/** A directory and the one writer of its entries. */
export interface CheckpointWriter extends EntrySink {
	readonly resumedEntries: number;
	/** Bytes written to data files. */
	readonly writtenBytes: number;
	/** Where the data files are until the commit. */
	readonly attempt: string;
	commit(index: CheckpointIndex): Promise<JobSummary>;
}

/** A checkpoint of one share. */
export interface CheckpointWriterOptions {
	readonly directory: string;
	/** 64 hex digits. */
	readonly planId: string;
	readonly entries: readonly Entry[];
	readonly files: readonly PlannedFile[];
	readonly overwrite: boolean;
	readonly onEvent?: EventListener | undefined;
	/** @default as a probe of the directory shows */
	readonly writeMode?: WriteMode | undefined;
	readonly maxOpenFiles?: number | undefined;
	/** @default 60 s */
	readonly leaseMs?: number | undefined;
	/** @default the model of the plan's identity */
	readonly model?: string | undefined;
	readonly signal?: AbortSignal | undefined;
}

/** A directory of one share, held by this process. */
export interface TestShare extends HeldShare {
	/** Finishes the share and commits the job. */
	commit(index: CheckpointIndex): Promise<JobSummary>;
}

/** Joins the job of a directory and takes its only share. */
export async function openTestShare(options: CheckpointWriterOptions): Promise<TestShare> {
	const { directory, planId, entries, files } = options;
	const joined = await joinJob({
		directory,
		worker: { index: 0, count: 1 },
		command: { model: options.model ?? planId },
		overwrite: options.overwrite,
		takeover: true,
		leaseMs: options.leaseMs ?? 60_000,
		tool: "0.0.0",
		signal: options.signal,
		onEvent: options.onEvent,
	});
	if ("finished" in joined) throw new Error(`${directory} is finished already`);
	const shares = [{ entries: entries.length, files }];
	const job = await prepareJob(joined.job, { planId, shares });
	const turn = (await shareTurns(job).next()).value;
	if (turn === undefined) throw new Error(`nothing is left to do in ${directory}`);
	const held = await openShare(job, turn, { directory, entries, files });
	return {
		share: held.share,
		directory: held.directory,
		writeMode: held.writeMode,
		resumed: held.resumed,
		record: (finished) => held.record(finished),
		isLost: () => held.isLost(),
		finish: (result) => held.finish(result),
		async [Symbol.asyncDispose]() {
			await held[Symbol.asyncDispose]();
			await turn.claim.release();
		},
		async commit(index) {
			const result = { seconds: 0, fetchedBytes: 0, requests: 0, retries: 0, writtenBytes: 0 };
			await held.finish({ ...result, entries: entries.length });
			await held[Symbol.asyncDispose]();
			await turn.claim.release();
			return (await commitJob(job, { index: () => index, commit: "local" })).summary;
		},
	};
}

/** Opens all of it, as a conversion with one thread does. */
export async function openCheckpointWriter(
	options: CheckpointWriterOptions,
): Promise<CheckpointWriter> {
	const { entries, files } = options;
	const held = await openTestShare(options);
	const writer: EntryWriter = createEntryWriter({
		directory: held.directory,
		entries,
		files,
		maxOpenFiles: options.maxOpenFiles,
		writeMode: options.writeMode ?? held.writeMode,
		isFinished: (index) => held.resumed.has(index),
		record: (finished) => held.record(finished),
	});
	return {
		attempt: held.directory,
		resumedEntries: held.resumed.size,
		get writes() {
			return writer.writes;
		},
		get writtenBytes() {
			return writer.writtenBytes;
		},
		isFinished: (index) => writer.isFinished(index),
		write: (index, offset, bytes) => writer.write(index, offset, bytes),
		finish: (index, crc32) => writer.finish(index, crc32),
		flush: () => writer.flush(),
		async commit(index) {
			await writer.flush();
			return await held.commit(index);
		},
		async [Symbol.asyncDispose]() {
			await writer[Symbol.asyncDispose]();
			await held[Symbol.asyncDispose]();
		},
	};
}
