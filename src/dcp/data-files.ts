import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { at } from "../core/shape.ts";
import { writing } from "./output-error.ts";
import { syncDirectory } from "./sync-directory.ts";

/** A data file of the plan. */
export interface PlannedFile {
	/** Name in the checkpoint directory; no path. */
	readonly name: string;
	/** Its final size. */
	readonly bytes: number;
}

interface OpenFile {
	readonly handle: Promise<FileHandle>;
	/** Operations in progress; it is not closed before they end. */
	users: number;
}

/** Syncs in flight. More gain nothing: the disk queues them. */
const CONCURRENT_SYNCS = 4;

/**
 * The data files of a checkpoint, written at any place in any order. Files are created when first written, at their final size,
 * so that parts nobody wrote are holes. At most `maxOpen` are open at once, unless more are in use at the same moment.
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

	constructor(directory: string, files: readonly PlannedFile[], maxOpen: number) {
		this.#directory = directory;
		this.#files = files;
		this.#maxOpen = maxOpen;
	}

	/**
	 * Writes `parts` one after the other from byte `position` of file number `index` on.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	async write(index: number, position: number, parts: readonly Uint8Array[]): Promise<void> {
		await this.#use(index, "write", (handle) => writeAll(handle, position, parts));
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
				await this.#use(index, "sync", (handle) => handle.datasync());
			}
		};
		await Promise.all(Array.from({ length: CONCURRENT_SYNCS }, work));
		if (!this.#hasNewNames) return;
		this.#hasNewNames = false;
		await writing("sync", this.#directory, () => syncDirectory(this.#directory));
	}

	/** Closes all files. The caller has awaited its writes. */
	async [Symbol.asyncDispose](): Promise<void> {
		const handles = [...this.#open.values()].map(({ handle }) => handle);
		this.#open.clear();
		await Promise.allSettled(handles.map(async (handle) => (await handle).close()));
	}

	async #use<T>(
		index: number,
		doing: string,
		operation: (handle: FileHandle) => Promise<T>,
	): Promise<T> {
		const path = join(this.#directory, at(this.#files, index).name);
		return writing(doing, path, async () => {
			const file = this.#acquire(index, path);
			try {
				await this.#closeSurplus();
				return await operation(await file.handle);
			} finally {
				file.users--;
			}
		});
	}

	#acquire(index: number, path: string): OpenFile {
		let file = this.#open.get(index);
		if (file === undefined) {
			file = { handle: this.#openAt(index, path), users: 0 };
			// A failure reaches whoever awaits the handle; without a listener it would also end the process.
			file.handle.catch(() => this.#open.delete(index));
		}
		this.#open.delete(index);
		this.#open.set(index, file);
		file.users++;
		return file;
	}

	async #openAt(index: number, path: string): Promise<FileHandle> {
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

	async #closeSurplus(): Promise<void> {
		for (const [index, file] of this.#open) {
			if (this.#open.size <= this.#maxOpen) return;
			if (file.users > 0) continue;
			this.#open.delete(index);
			await (await file.handle).close();
		}
	}
}

/** Positional writes until all bytes are out: one call may write less than it was given. */
async function writeAll(
	handle: FileHandle,
	position: number,
	parts: readonly Uint8Array[],
): Promise<void> {
	let pending = parts.filter((part) => part.length > 0);
	let cursor = position;
	while (pending.length > 0) {
		const { bytesWritten } = await handle.writev(pending, cursor);
		cursor += bytesWritten;
		pending = withoutFirst(pending, bytesWritten);
	}
}

function withoutFirst(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
	let left = bytes;
	const rest: Uint8Array[] = [];
	for (const part of parts) {
		const skipped = Math.min(left, part.length);
		left -= skipped;
		if (skipped < part.length) rest.push(part.subarray(skipped));
	}
	return rest;
}
