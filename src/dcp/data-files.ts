import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { pageBefore } from "../core/pages.ts";
import type { WriteCounters } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { BufferedWriter } from "./buffered-writer.ts";
import { writing } from "../files/writing.ts";
import { type Segment, splitAtPages } from "./page-segments.ts";
import { syncDirectory } from "../files/sync-directory.ts";
import type { WriteMode } from "./write-mode.ts";

/** A data file of the plan. */
export interface PlannedFile {
	/** Name in the checkpoint directory; no path. */
	readonly name: string;
	/** Its final size. */
	readonly bytes: number;
}

interface OpenFile {
	readonly handle: Promise<FileHandle>;
	/** For writes past the page cache; opened by the first of them. */
	direct: Promise<FileHandle> | undefined;
	/** Operations in progress; it is not closed before they end. */
	users: number;
	/** Writes past the page cache in progress: each holds the file alone while it fills a hole (ext4, xfs). */
	directWrites: number;
}

/** Syncs in flight. The disk queues more than that, and Node's other threads go on writing. */
const CONCURRENT_SYNCS = 2;

/** Errors of a file system that has no direct writes, or none of this alignment. */
const REFUSALS: ReadonlySet<unknown> = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP"]);

/** The counters of several writers of one directory together. */
export function addWrites(mode: WriteMode, writers: readonly WriteCounters[]): WriteCounters {
	const sum = (count: (writes: WriteCounters) => number): number =>
		writers.reduce((total, writes) => total + count(writes), 0);
	return {
		mode,
		directBytes: sum(({ directBytes }) => directBytes),
		bufferedBytes: sum(({ bufferedBytes }) => bufferedBytes),
		calls: sum(({ calls }) => calls),
		refusals: sum(({ refusals }) => refusals),
	};
}

/** What {@link DataFiles} are to be. */
export interface DataFilesOptions {
	readonly directory: string;
	readonly files: readonly PlannedFile[];
	/** Descriptors that are open at once, unless more are in use at the same moment. */
	readonly maxOpen: number;
	/** What the directory allows, as `probeWriteMode` finds out; `buffered` works everywhere. */
	readonly mode: WriteMode;
}

/**
 * The data files of a checkpoint, written at any place in any order. Files are created when first written, at their final size,
 * so that parts nobody wrote are holes. Whole pages go past the page cache where that is possible, everything else through it.
 */
export class DataFiles implements AsyncDisposable {
	readonly #directory: string;
	readonly #files: readonly PlannedFile[];
	readonly #maxOpen: number;
	/** By index; the least recently used comes first. */
	readonly #open = new Map<number, OpenFile>();
	/** Files that were written since their last sync. */
	#dirty = new Set<number>();
	/** Files that this process created, or found, and gave their size. */
	readonly #named = new Set<number>();
	#hasNewNames = false;
	/** Files that refused a direct write. */
	readonly #refusing = new Set<number>();
	readonly #writes: { -readonly [K in keyof WriteCounters]: WriteCounters[K] };
	readonly #buffered = new BufferedWriter((bytes) => {
		this.#writes.bufferedBytes += bytes;
		this.#writes.calls++;
	});

	constructor({ directory, files, maxOpen, mode }: DataFilesOptions) {
		this.#directory = directory;
		this.#files = files;
		// A file has up to two descriptors.
		this.#maxOpen = mode === "direct" ? Math.max(1, Math.floor(maxOpen / 2)) : maxOpen;
		this.#writes = { mode, directBytes: 0, bufferedBytes: 0, calls: 0, refusals: 0 };
	}

	/** Totals so far. */
	get writes(): WriteCounters {
		return this.#writes;
	}

	/**
	 * Writes `parts` one after the other from byte `position` of file number `index` on. No byte is written twice.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	async write(index: number, position: number, parts: readonly Uint8Array[]): Promise<void> {
		await this.#use(index, "write", async (file) => {
			const whole = { position, parts };
			const isDirect = this.#writes.mode === "direct" && !this.#refusing.has(index);
			const { direct, buffered } = isDirect
				? splitAtPages(position, parts)
				: { direct: [], buffered: [whole] };
			for (const segment of buffered) await this.#writeBuffered(file, segment);
			for (const segment of direct) await this.#writePages(index, file, segment);
		});
		// Afterwards: a sync that began before the write ended does not cover it.
		this.#dirty.add(index);
	}

	/**
	 * Makes everything durable whose {@link write} has resolved before the call.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`. What was written before may be lost then; a second try proves nothing, as the
	 * operating system reports a failed write-back only once.
	 */
	async sync(): Promise<void> {
		const queue = [...this.#dirty];
		this.#dirty = new Set();
		const work = async (): Promise<void> => {
			for (let index = queue.pop(); index !== undefined; index = queue.pop()) {
				await this.#use(index, "sync", async (file) => await (await file.handle).datasync());
			}
		};
		await Promise.all(Array.from({ length: CONCURRENT_SYNCS }, work));
		if (!this.#hasNewNames) return;
		this.#hasNewNames = false;
		await writing("sync", this.#directory, () => syncDirectory(this.#directory));
	}

	/** Closes all files. The caller has awaited its writes. */
	async [Symbol.asyncDispose](): Promise<void> {
		const files = [...this.#open.values()];
		this.#open.clear();
		await Promise.allSettled(files.map(close));
	}

	/** Writes whole pages past the page cache; what the file system does not take so, through it. */
	async #writePages(index: number, file: OpenFile, { position, parts }: Segment): Promise<void> {
		const pages = at(parts, 0);
		let done = 0;
		while (done < pages.length) {
			const written = await this.#tryDirect(index, file, pages.subarray(done), position + done);
			// A write that was cut short inside a page goes on at the start of that page.
			const whole = pageBefore(written);
			if (whole === 0) break;
			this.#writes.directBytes += whole;
			done += whole;
		}
		if (done === pages.length) return;
		const rest = { position: position + done, parts: [pages.subarray(done)] };
		await this.#writeBuffered(file, rest);
	}

	async #writeBuffered(file: OpenFile, segment: Segment): Promise<void> {
		await this.#buffered.write(await file.handle, segment, file.directWrites > 0);
	}

	/** Bytes that one direct write wrote; 0 when the file refuses such writes, which it is not asked for again. */
	async #tryDirect(
		index: number,
		file: OpenFile,
		pages: Uint8Array,
		position: number,
	): Promise<number> {
		if (this.#refusing.has(index)) return 0;
		file.directWrites++;
		try {
			file.direct ??= this.#openDirect(index, file);
			const handle = await file.direct;
			this.#writes.calls++;
			const { bytesWritten } = await handle.write(pages, 0, pages.length, position);
			return bytesWritten;
		} catch (error) {
			if (!REFUSALS.has((error as NodeJS.ErrnoException).code)) throw error;
			if (!this.#refusing.has(index)) this.#writes.refusals++;
			this.#refusing.add(index);
			return 0;
		} finally {
			file.directWrites--;
		}
	}

	async #openDirect(index: number, file: OpenFile): Promise<FileHandle> {
		// The other descriptor creates the file.
		await file.handle;
		return await open(this.#pathOf(index), constants.O_WRONLY | constants.O_DIRECT);
	}

	async #use<T>(
		index: number,
		doing: string,
		operation: (file: OpenFile) => Promise<T>,
	): Promise<T> {
		return writing(doing, this.#pathOf(index), async () => {
			const file = this.#acquire(index);
			try {
				await this.#closeSurplus();
				await file.handle;
				return await operation(file);
			} finally {
				file.users--;
			}
		});
	}

	#acquire(index: number): OpenFile {
		let file = this.#open.get(index);
		if (file === undefined) {
			file = { handle: this.#openAt(index), direct: undefined, users: 0, directWrites: 0 };
			// A failure reaches whoever awaits the handle; without a listener it would also end the process.
			file.handle.catch(() => this.#open.delete(index));
		}
		this.#open.delete(index);
		this.#open.set(index, file);
		file.users++;
		return file;
	}

	async #openAt(index: number): Promise<FileHandle> {
		const path = this.#pathOf(index);
		// Created and sized once. A file that was closed to make room and then deleted must fail here, not begin anew with holes.
		if (this.#named.has(index)) return await open(path, constants.O_WRONLY);
		const handle = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o666);
		try {
			await handle.truncate(at(this.#files, index).bytes);
		} catch (error) {
			await handle.close();
			throw error;
		}
		this.#named.add(index);
		this.#hasNewNames = true;
		return handle;
	}

	#pathOf(index: number): string {
		return join(this.#directory, at(this.#files, index).name);
	}

	async #closeSurplus(): Promise<void> {
		for (const [index, file] of this.#open) {
			if (this.#open.size <= this.#maxOpen) return;
			if (file.users > 0) continue;
			this.#open.delete(index);
			await close(file);
		}
	}
}

/** Closes both descriptors, also when one of them could not be opened. */
async function close({ handle, direct }: OpenFile): Promise<void> {
	await Promise.allSettled([handle, direct].map(async (one) => await (await one)?.close()));
}
