import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { crc32 as crc32Of } from "../checksum/crc32.ts";
import type { CheckpointIndex } from "../core/checkpoint.ts";
import { invariant } from "../core/errors.ts";
import { type EventListener, emitTo } from "../core/events.ts";
import type { Entry, EntrySink, WriteCounters } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { DataFiles, type PlannedFile } from "./data-files.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { type FinishedEntry, Journal, JOURNAL_NAME } from "./journal.ts";
import { encodeMetadata } from "./metadata-writer.ts";
import { defaultMaxOpenFiles } from "./open-file-limit.ts";
import { createDirectory, prepareDirectory } from "./output-directory.ts";
import { replaceFile } from "./replace-file.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "./torch-save.ts";
import { probeWriteMode, type WriteMode } from "./write-mode.ts";

/** Entries up to this many data bytes are checksummed here, so that all of the entry goes out in one system call. */
const SMALL_ENTRY_BYTES = 16 * 1024;

/** What a checkpoint writer needs to know. */
export interface CheckpointWriterOptions {
	/** Where the checkpoint goes. Created when missing. */
	readonly directory: string;
	/** Identity of the plan: an unfinished checkpoint is continued only by the same plan. */
	readonly planId: string;
	/** In the order of the plan: their index is their name in the {@link EntrySink}. */
	readonly entries: readonly Entry[];
	/** Every file that the entries name, once. */
	readonly files: readonly PlannedFile[];
	/** Whether another checkpoint in the directory may be replaced. */
	readonly overwrite: boolean;
	/** Receives warnings. Progress is announced by whoever calls the sink. */
	readonly onEvent?: EventListener | undefined;
	/** Descriptors of data files that are open at once. @default half of what the process may open, at most 4096 */
	readonly maxOpenFiles?: number | undefined;
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
 * Writes one checkpoint. The caller decides when to {@link EntrySink.flush}: what was finished since the last flush is written again
 * after a crash. Disposal flushes too, closes the files and gives the directory free; a checkpoint that is not committed can be
 * continued by the same plan.
 */
export interface CheckpointWriter extends EntrySink {
	/** Entries that an earlier run had finished. */
	readonly resumedEntries: number;
	/** Bytes written to data files by this writer: data, prefixes and suffixes. */
	readonly writtenBytes: number;
	/**
	 * Makes it a checkpoint: flushes, writes `.metadata`, and removes the journal. Every entry is finished.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`; there is no `.metadata` then.
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
export async function openCheckpointWriter(
	options: CheckpointWriterOptions,
): Promise<CheckpointWriter> {
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
		const mode = options.writeMode ?? (await probeWriteMode(directory));
		return new DirectoryCheckpointWriter({ ...options, mode, lock, journal, finished });
	} catch (error) {
		await lock[Symbol.asyncDispose]();
		throw error;
	}
}

/** A directory that is ready: locked, with a journal. */
interface OpenedDirectory extends CheckpointWriterOptions {
	readonly mode: WriteMode;
	readonly lock: DirectoryLock;
	readonly journal: Journal;
	readonly finished: ReadonlyMap<number, number>;
}

class DirectoryCheckpointWriter implements CheckpointWriter {
	readonly resumedEntries: number;
	readonly #directory: string;
	readonly #entries: readonly Entry[];
	readonly #planned: readonly PlannedFile[];
	readonly #fileIndex: ReadonlyMap<string, number>;
	readonly #lock: DirectoryLock;
	readonly #journal: Journal;
	readonly #files: DataFiles;
	readonly #finished: Uint8Array;
	#finishedCount: number;
	/** Data bytes received per entry. */
	readonly #received: Float64Array;
	/** CRC-32 of the entries that went out whole but were not yet declared finished. */
	readonly #whole = new Map<number, number>();
	/** Finished, but not yet in the journal. */
	#pending: FinishedEntry[] = [];
	#flushing: Promise<void> = Promise.resolve();
	/** Set when a sync failed: from then on nothing is known to be durable. */
	#broken = false;
	#writtenBytes = 0;
	#disposed = false;

	constructor(options: OpenedDirectory) {
		const { directory, entries, files, mode, lock, journal, finished } = options;
		this.#directory = directory;
		this.#entries = entries;
		this.#planned = files;
		this.#fileIndex = new Map(files.map(({ name }, index) => [name, index]));
		this.#lock = lock;
		this.#journal = journal;
		const maxOpen = options.maxOpenFiles ?? defaultMaxOpenFiles();
		this.#files = new DataFiles({ directory, files, maxOpen, mode });
		this.#finished = new Uint8Array(entries.length);
		for (const index of finished.keys()) this.#finished[index] = 1;
		this.#finishedCount = finished.size;
		this.resumedEntries = finished.size;
		this.#received = new Float64Array(entries.length);
	}

	get writes(): WriteCounters {
		return this.#files.writes;
	}

	get writtenBytes(): number {
		return this.#writtenBytes;
	}

	isFinished(index: number): boolean {
		return this.#finished[index] === 1;
	}

	async write(index: number, offset: number, bytes: Uint8Array): Promise<void> {
		const entry = at(this.#entries, index);
		const { dtype, box } = entry;
		const { prefixBytes, dataBytes } = torchSaveFormat.geometry(dtype, box.size);
		invariant(!this.isFinished(index), `entry ${index} is finished already`);
		invariant(offset + bytes.length <= dataBytes, `entry ${index} has only ${dataBytes} bytes`);
		if (bytes.length === 0) return;
		if (offset > 0) {
			await this.#put(entry, prefixBytes + offset, [bytes]);
		} else if (bytes.length === dataBytes && dataBytes <= SMALL_ENTRY_BYTES) {
			const crc = crc32Of(bytes);
			const suffix = encodeSuffix(dtype, box.size, crc);
			await this.#put(entry, 0, [encodePrefix(dtype, box.size), bytes, suffix]);
			this.#whole.set(index, crc);
		} else {
			await this.#put(entry, 0, [encodePrefix(dtype, box.size), bytes]);
		}
		this.#received[index] = (this.#received[index] ?? 0) + bytes.length;
	}

	async finish(index: number, crc32: number): Promise<void> {
		const entry = at(this.#entries, index);
		const { dtype, box } = entry;
		const { prefixBytes, dataBytes } = torchSaveFormat.geometry(dtype, box.size);
		const received = this.#received[index];
		invariant(!this.isFinished(index), `entry ${index} is finished already`);
		invariant(received === dataBytes, `entry ${index} has ${received} of ${dataBytes} bytes`);
		const known = dataBytes === 0 ? 0 : this.#whole.get(index);
		invariant(known === undefined || known === crc32, `entry ${index} changed in memory`);
		if (dataBytes === 0) {
			const suffix = encodeSuffix(dtype, box.size, crc32);
			await this.#put(entry, 0, [encodePrefix(dtype, box.size), suffix]);
		} else if (known === undefined) {
			await this.#put(entry, prefixBytes + dataBytes, [encodeSuffix(dtype, box.size, crc32)]);
		}
		this.#whole.delete(index);
		this.#finished[index] = 1;
		this.#finishedCount++;
		this.#pending.push({ index, crc32 });
	}

	flush(): Promise<void> {
		// One after the other: each journals only what was finished before its own sync began.
		const flushing = this.#flushing.then(
			() => this.#flushNow(),
			() => this.#flushNow(),
		);
		this.#flushing = flushing;
		return flushing;
	}

	async commit(index: CheckpointIndex): Promise<CommitResult> {
		const count = this.#entries.length;
		const listed = index.tensors.reduce((sum, { entries }) => sum + entries.length, 0);
		invariant(this.#finishedCount === count, `${this.#finishedCount} of ${count} entries finished`);
		invariant(listed === count, `the index lists ${listed} of ${count} entries`);
		for (const file of this.#planned.keys()) await this.#files.create(file);
		await this.flush();
		const bytes = encodeMetadata(index);
		await replaceFile(join(this.#directory, ".metadata"), bytes);
		const journal = join(this.#directory, JOURNAL_NAME);
		await this.#journal[Symbol.asyncDispose]();
		// The checkpoint is whole by now; readers ignore a journal that stays behind.
		await unlink(journal).catch(() => {});
		await this.#close();
		return { metadataBytes: bytes.length };
	}

	async [Symbol.asyncDispose](): Promise<void> {
		if (this.#disposed) return;
		// What cannot be flushed is written again by the next run; the error that led here matters more.
		await this.flush().catch(() => {});
		await this.#journal[Symbol.asyncDispose]();
		await this.#close();
	}

	async #close(): Promise<void> {
		this.#disposed = true;
		await this.#files[Symbol.asyncDispose]();
		await this.#lock[Symbol.asyncDispose]();
	}

	async #flushNow(): Promise<void> {
		invariant(!this.#broken, "a flush after a failed one");
		const entries = this.#pending;
		this.#pending = [];
		try {
			await this.#files.sync();
			await this.#journal.append(entries);
		} catch (error) {
			this.#broken = true;
			throw error;
		}
	}

	async #put(entry: Entry, position: number, parts: readonly Uint8Array[]): Promise<void> {
		const file = this.#fileIndex.get(entry.file);
		invariant(file !== undefined, `${entry.file} is not a file of the plan`);
		await this.#files.write(file, entry.offset + position, parts);
		for (const part of parts) this.#writtenBytes += part.length;
	}
}
