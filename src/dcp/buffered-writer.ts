import { writevSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import type { Segment } from "./page-segments.ts";

/** Written at once on the calling thread: half a millisecond's work. */
const PIECE_BYTES = 2 ** 20;

/** A write that takes longer waits for the disk: dirty pages are too many, or another write holds the file. */
const SLOW_MS = 10;

/** For how long writes then go to Node's threads instead. */
const PATIENCE_MS = 1_000;

/** Says what a write call wrote. */
export type OnCall = (bytes: number) => void;

/**
 * Writes through the page cache. On the calling thread this is a copy in memory, and cheaper than on Node's threads, the smaller the
 * write the more. When a write has to wait for the disk, they take over for a while, so that receiving goes on.
 */
export class BufferedWriter {
	readonly #onCall: OnCall;
	readonly #now: () => number;
	#waitsUntil = Number.NEGATIVE_INFINITY;

	constructor(onCall: OnCall, now: () => number = () => performance.now()) {
		this.#onCall = onCall;
		this.#now = now;
	}

	/**
	 * Writes all of a segment.
	 *
	 * @param waits - Whether another write holds the file at the moment: then the calling thread would wait for it.
	 */
	async write(handle: FileHandle, { position, parts }: Segment, waits: boolean): Promise<void> {
		let pending: readonly Uint8Array[] = slice(parts, 0);
		let cursor = position;
		while (pending.length > 0) {
			const bytes = await this.#writeOnce(handle, cursor, pending, waits);
			this.#onCall(bytes);
			cursor += bytes;
			pending = slice(pending, bytes);
			if (pending.length > 0) await new Promise((resolve) => setImmediate(resolve));
		}
	}

	async #writeOnce(
		handle: FileHandle,
		position: number,
		parts: readonly Uint8Array[],
		waits: boolean,
	): Promise<number> {
		const start = this.#now();
		if (waits || start < this.#waitsUntil)
			return (await handle.writev([...parts], position)).bytesWritten;
		const bytes = writevSync(handle.fd, slice(parts, 0, PIECE_BYTES), position);
		const end = this.#now();
		if (end - start > SLOW_MS) this.#waitsUntil = end + PATIENCE_MS;
		return bytes;
	}
}

/** Bytes `start` up to but not including `end` of parts one after the other; no empty part. */
function slice(
	parts: readonly Uint8Array[],
	start: number,
	end = Number.POSITIVE_INFINITY,
): Uint8Array[] {
	const sliced: Uint8Array[] = [];
	let cursor = 0;
	for (const part of parts) {
		const rest = part.subarray(
			Math.max(0, start - cursor),
			Math.max(0, Math.min(part.length, end - cursor)),
		);
		if (rest.length > 0) sliced.push(rest);
		cursor += part.length;
	}
	return sliced;
}
