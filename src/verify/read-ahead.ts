import type { FileHandle } from "node:fs/promises";
import { at } from "../core/shape.ts";

/** One read: large enough that the calls do not count, and that a file system of many disks keeps them busy. */
const READ_BYTES = 4 * 1024 * 1024;

/** Reads under way at once, each into a buffer of its own. */
const READS_AHEAD = 3;

/** Bytes of a file, half-open. */
export interface FileRange {
	readonly start: number;
	readonly end: number;
}

/** What was read from where. */
export interface ReadPiece {
	readonly position: number;
	/** Only until the next piece is asked for: the memory is used again. */
	readonly bytes: Uint8Array;
}

/**
 * Memory for {@link readAhead}, to be used for one file after the other.
 *
 * @param mostBytes - Of a range: what is smaller needs no large buffers.
 */
export function createReadBuffers(mostBytes: number): readonly Uint8Array[] {
	const bytes = Math.max(1024, Math.min(READ_BYTES, mostBytes));
	return Array.from({ length: READS_AHEAD }, () => Buffer.allocUnsafeSlow(bytes));
}

interface PendingRead {
	readonly buffer: Uint8Array;
	readonly position: number;
	readonly length: number;
	readonly done: Promise<void>;
}

/**
 * Reads ranges of a file in order, piece by piece, while the next pieces are read already.
 *
 * @yields every byte of every range, in order.
 * @throws {FileEndsError} when the file ends before a range does; {@link Error} of the system.
 */
export async function* readAhead(
	handle: FileHandle,
	ranges: readonly FileRange[],
	buffers: readonly Uint8Array[],
	signal?: AbortSignal,
): AsyncGenerator<ReadPiece> {
	const stretches = stretchesOf(ranges, at(buffers, 0).length);
	const pending: PendingRead[] = [];
	const begin = (buffer: Uint8Array): void => {
		const next = stretches.next();
		if (next.done === true) return;
		const { start, end } = next.value;
		const length = end - start;
		const done = readFully(handle, buffer, length, start);
		// It is awaited below, but maybe not before it fails.
		done.catch(() => {});
		pending.push({ buffer, position: start, length, done });
	};
	try {
		for (const buffer of buffers) begin(buffer);
		for (let read = pending.shift(); read !== undefined; read = pending.shift()) {
			await read.done;
			signal?.throwIfAborted();
			yield { position: read.position, bytes: read.buffer.subarray(0, read.length) };
			begin(read.buffer);
		}
	} finally {
		// Nothing may write into the buffers, or use the handle, afterwards.
		await Promise.allSettled(pending.map(({ done }) => done));
	}
}

function* stretchesOf(ranges: readonly FileRange[], most: number): Generator<FileRange> {
	for (const { start, end } of ranges) {
		for (let from = start; from < end; from += most) {
			yield { start: from, end: Math.min(from + most, end) };
		}
	}
}

/** A file is shorter than it was when its size was looked at. */
export class FileEndsError extends Error {
	constructor(position: number) {
		super(`the file ends at byte ${position}`);
		this.name = "FileEndsError";
	}
}

/**
 * Fills the first `length` bytes of `buffer` from byte `position` of a file on.
 *
 * @throws {FileEndsError} when it ends before; {@link Error} of the system.
 */
export async function readFully(
	handle: FileHandle,
	buffer: Uint8Array,
	length: number,
	position: number,
): Promise<void> {
	let done = 0;
	while (done < length) {
		const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
		if (bytesRead === 0) throw new FileEndsError(position + done);
		done += bytesRead;
	}
}
