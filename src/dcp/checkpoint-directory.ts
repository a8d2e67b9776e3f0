import { unlink } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointIndex } from "../core/checkpoint.ts";
import { invariant } from "../core/errors.ts";
import { type EventListener, emitTo } from "../core/events.ts";
import type { Entry } from "../core/ports.ts";
import type { PlannedFile } from "./data-files.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { type FinishedEntry, Journal, JOURNAL_NAME } from "./journal.ts";
import { encodeMetadata } from "./metadata-writer.ts";
import { createDirectory, findDataFiles, prepareDirectory } from "./output-directory.ts";
import { replaceFile } from "../files/replace-file.ts";
import { probeWriteMode, type WriteMode } from "./write-mode.ts";

/** What the owner of a checkpoint's directory needs to know. */
export interface CheckpointDirectoryOptions {
	/** Where the checkpoint goes. Created when missing. */
	readonly directory: string;
	/** Identity of the plan: an unfinished checkpoint is continued only by the same plan. */
	readonly planId: string;
	/** In the order of the plan: their index is their name in the journal. */
	readonly entries: readonly Entry[];
	/** Every file that the entries name, once. */
	readonly files: readonly PlannedFile[];
	/** Whether another checkpoint in the directory may be replaced. */
	readonly overwrite: boolean;
	/** Receives warnings. */
	readonly onEvent?: EventListener | undefined;
	/** How data files are written. @default direct where a probe of the directory shows that it works, buffered otherwise */
	readonly writeMode?: WriteMode | undefined;
	/** Version of this program, for the journal. @default "unknown" */
	readonly tool?: string | undefined;
}

/** What a commit did. */
export interface CommitResult {
	/** Size of `.metadata`. */
	readonly metadataBytes: number;
}

/**
 * The directory of one checkpoint, owned: its lock, its journal and its `.metadata`. Whoever writes the entries tells it what is
 * durable. Disposal gives the directory free; a checkpoint that is not committed can be continued by the same plan.
 */
export interface CheckpointDirectory extends AsyncDisposable {
	/** Entries that an earlier run had finished. */
	readonly resumed: ReadonlySet<number>;
	/** How its data files are to be written. */
	readonly writeMode: WriteMode;
	/**
	 * Writes down entries whose files were synced. They are in the journal, durably, when it resolves. Calls at the same time share a
	 * sync of the journal.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`, then and at every later call: nothing is known of the journal any more.
	 */
	record(finished: readonly FinishedEntry[]): Promise<void>;
	/**
	 * Makes it a checkpoint: writes `.metadata` and removes the journal. Every entry is recorded.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`, also when a data file has disappeared; there is no `.metadata` then.
	 */
	commit(index: CheckpointIndex): Promise<CommitResult>;
}

/**
 * Opens a directory for a checkpoint, or to continue one.
 *
 * @throws {HfStreamDcpError} `OUTPUT_EXISTS` for a directory with a checkpoint or foreign data files, or one that another process
 * is writing; `PLAN_CHANGED` for an unfinished checkpoint of another plan; `OUTPUT_WRITE` when it cannot be written or the disk
 * has no room. Nothing was removed then.
 */
export async function openCheckpointDirectory(
	options: CheckpointDirectoryOptions,
): Promise<CheckpointDirectory> {
	const { directory, planId, entries } = options;
	const emit = emitTo(options.onEvent);
	await createDirectory(directory);
	const lock = await lockDirectory(directory);
	try {
		if (lock.tookOver)
			emit({ kind: "warning", message: `took over ${directory} from a dead process` });
		const earlier = await prepareDirectory(options);
		const header = { planId, entries: entries.length, tool: options.tool ?? "unknown" };
		const finished = earlier?.finished ?? new Map<number, number>();
		const journal = await Journal.create(join(directory, JOURNAL_NAME), { header, finished });
		const writeMode = options.writeMode ?? (await probeWriteMode(directory));
		return new OwnedDirectory({ ...options, writeMode }, lock, journal, new Set(finished.keys()));
	} catch (error) {
		await lock[Symbol.asyncDispose]();
		throw error;
	}
}

class OwnedDirectory implements CheckpointDirectory {
	readonly resumed: ReadonlySet<number>;
	readonly writeMode: WriteMode;
	readonly #options: CheckpointDirectoryOptions;
	readonly #lock: DirectoryLock;
	readonly #journal: Journal;
	/** In the journal, or on the way there. */
	readonly #recorded: Set<number>;
	#waiting: FinishedEntry[] = [];
	#recording: Promise<void> = Promise.resolve();
	#isDisposed = false;

	constructor(
		options: CheckpointDirectoryOptions & { readonly writeMode: WriteMode },
		lock: DirectoryLock,
		journal: Journal,
		resumed: ReadonlySet<number>,
	) {
		this.writeMode = options.writeMode;
		this.#options = options;
		this.#lock = lock;
		this.#journal = journal;
		this.resumed = resumed;
		this.#recorded = new Set(resumed);
	}

	record(finished: readonly FinishedEntry[]): Promise<void> {
		for (const entry of finished) {
			invariant(!this.#recorded.has(entry.index), `entry ${entry.index} is finished already`);
			this.#recorded.add(entry.index);
			this.#waiting.push(entry);
		}
		this.#recording = this.#recording.then(() => this.#recordWaiting());
		return this.#recording;
	}

	async commit(index: CheckpointIndex): Promise<CommitResult> {
		const { directory, entries, files } = this.#options;
		const count = entries.length;
		const listed = index.tensors.reduce((sum, tensor) => sum + tensor.entries.length, 0);
		invariant(this.#recorded.size === count, `${this.#recorded.size} of ${count} entries finished`);
		invariant(listed === count, `the index lists ${listed} of ${count} entries`);
		await this.#recording;
		await findDataFiles(directory, files);
		const bytes = encodeMetadata(index);
		await replaceFile(join(directory, ".metadata"), bytes);
		await this.#journal[Symbol.asyncDispose]();
		// The checkpoint is whole by now; readers ignore a journal that stays behind.
		await unlink(join(directory, JOURNAL_NAME)).catch(() => {});
		this.#isDisposed = true;
		await this.#lock[Symbol.asyncDispose]();
		return { metadataBytes: bytes.length };
	}

	async #recordWaiting(): Promise<void> {
		const entries = this.#waiting;
		this.#waiting = [];
		await this.#journal.append(entries);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		if (this.#isDisposed) return;
		this.#isDisposed = true;
		// Whoever recorded has heard of a failure.
		await this.#recording.catch(() => {});
		await this.#journal[Symbol.asyncDispose]();
		await this.#lock[Symbol.asyncDispose]();
	}
}
