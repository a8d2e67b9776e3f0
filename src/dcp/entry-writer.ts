import { crc32 as crc32Of } from "../checksum/crc32.ts";
import { invariant } from "../core/errors.ts";
import type { Entry, EntrySink, FinishedEntry, StrongHash, WriteCounters } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { DataFiles, type PlannedFile } from "./data-files.ts";
import { defaultMaxOpenFiles } from "./open-file-limit.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "./torch-save.ts";
import type { WriteMode } from "./write-mode.ts";

/** Entries up to this many data bytes are checksummed here, so that all of the entry goes out in one system call. */
const SMALL_ENTRY_BYTES = 16 * 1024;

/** What a writer of entries needs to know. */
export interface EntryWriterOptions {
	/** Where the data files are. It exists. */
	readonly directory: string;
	/** Their index is their name in the {@link EntrySink}. */
	readonly entries: readonly Entry[];
	/** Every file that the entries name, once, at its size in the whole checkpoint. */
	readonly files: readonly PlannedFile[];
	/** Entries that need not be written. */
	readonly isFinished: (index: number) => boolean;
	/** Told of entries whose files were synced; resolves when that is written down. */
	readonly record: (finished: readonly FinishedEntry[]) => Promise<void>;
	/** How data files are written, as `probeWriteMode` finds out. */
	readonly writeMode: WriteMode;
	/** Descriptors of data files that are open at once. @default half of what the process may open, at most 4096 */
	readonly maxOpenFiles?: number | undefined;
}

/**
 * Writes entries into the data files of a directory. The caller decides when to {@link EntrySink.flush}: what was finished since the
 * last flush is written again after a crash. Disposal flushes too and closes the files.
 *
 * Several writers, of threads or of processes, may write different entries of one file at the same time: each gives a file that it
 * opens first the same size, which no byte is beyond.
 */
export interface EntryWriter extends EntrySink {
	/** Bytes written to data files by this writer: data, prefixes and suffixes. */
	readonly writtenBytes: number;
}

/** Opens a writer. No file is touched before the first write. */
export function createEntryWriter(options: EntryWriterOptions): EntryWriter {
	return new FileEntryWriter(options);
}

class FileEntryWriter implements EntryWriter {
	readonly #entries: readonly Entry[];
	readonly #fileIndex: ReadonlyMap<string, number>;
	readonly #files: DataFiles;
	readonly #record: EntryWriterOptions["record"];
	readonly #finished: Uint8Array;
	/** Data bytes received per entry. */
	readonly #received: Float64Array;
	/** CRC-32 of the entries that went out whole but were not yet declared finished. */
	readonly #whole = new Map<number, number>();
	/** Finished, but not yet recorded. */
	#pending: FinishedEntry[] = [];
	#flushing: Promise<void> = Promise.resolve();
	/** Set when a sync failed: from then on nothing is known to be durable. */
	#broken = false;
	#writtenBytes = 0;
	#disposed = false;

	constructor(options: EntryWriterOptions) {
		const { directory, entries, files, isFinished, record, writeMode: mode } = options;
		this.#entries = entries;
		this.#fileIndex = new Map(files.map(({ name }, index) => [name, index]));
		const maxOpen = options.maxOpenFiles ?? defaultMaxOpenFiles();
		this.#files = new DataFiles({ directory, files, maxOpen, mode });
		this.#record = record;
		this.#finished = Uint8Array.from(entries, (_, index) => (isFinished(index) ? 1 : 0));
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

	async finish(index: number, crc32: number, strong?: StrongHash): Promise<void> {
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
		this.#pending.push({ index, crc32, ...strong });
	}

	flush(): Promise<void> {
		// One after the other: each records only what was finished before its own sync began.
		const flushing = this.#flushing.then(
			() => this.#flushNow(),
			() => this.#flushNow(),
		);
		this.#flushing = flushing;
		return flushing;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		if (this.#disposed) return;
		this.#disposed = true;
		// What cannot be flushed is written again by the next run; the error that led here matters more.
		await this.flush().catch(() => {});
		await this.#files[Symbol.asyncDispose]();
	}

	async #flushNow(): Promise<void> {
		invariant(!this.#broken, "a flush after a failed one");
		const entries = this.#pending;
		this.#pending = [];
		try {
			await this.#files.sync();
			if (entries.length > 0) await this.#record(entries);
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
