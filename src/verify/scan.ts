import type { FileHandle } from "node:fs/promises";
import { dataRangeOf, EntryCheck, type EntryTask, type EntryVerdict } from "./entry-check.ts";
import type { VerifyLevel } from "./entry-check.ts";
import { type FileRange, readAhead } from "./read-ahead.ts";

/** What lies in a part of a file: an entry to be checked, or something that is not looked at here. Plain data. */
export interface ScanItem extends FileRange {
	/** `undefined`: not looked at. */
	readonly task: EntryTask | undefined;
}

/** A part of a file that is read in one go. */
export interface ScanPart extends FileRange {
	/** Apart from one another, in order, inside of the part. */
	readonly items: readonly ScanItem[];
}

/** What a scan tells. */
export interface ScanListener {
	/** @param index - Of the item in the part. */
	readonly onEntry: (index: number, verdict: EntryVerdict) => void;
	/** Bytes that belong to no item, and are not zero. */
	readonly onPadding: (range: FileRange) => void;
	/** Bytes that were read since the last call. */
	readonly onRead: (bytes: number) => void;
}

/** Reads of a quick scan that are nearer to one another than this are one read. */
const NEAR_BYTES = 16 * 1024;

/** For comparing with zeros. */
const ZEROS = Buffer.alloc(256 * 1024);

/**
 * Checks the entries of a part of a file in one pass: all bytes, or of a `quick` scan everything but the data.
 *
 * @throws {Error} of the system.
 */
export async function scanPart(
	handle: FileHandle,
	part: ScanPart,
	level: VerifyLevel,
	buffers: readonly Uint8Array[],
	listener: ScanListener,
	signal?: AbortSignal,
): Promise<void> {
	const withData = level !== "quick";
	const ranges = withData ? rangesWithData(part) : rangesWithoutData(part);
	const { items } = part;
	let index = 0;
	let check: EntryCheck | undefined;
	for await (const { position, bytes } of readAhead(handle, ranges, buffers, signal)) {
		listener.onRead(bytes.length);
		const end = position + bytes.length;
		let from = position;
		while (from < end) {
			const item = items[index];
			if (item !== undefined && from >= item.end) {
				index++;
				continue;
			}
			const isInside = item !== undefined && from >= item.start;
			const to = Math.min(end, isInside ? item.end : (item?.start ?? part.end));
			const stretch = bytes.subarray(from - position, to - position);
			if (!isInside) {
				const range = findNonZero(stretch, from);
				if (range !== undefined) listener.onPadding(range);
			} else if (item.task !== undefined) {
				check ??= new EntryCheck(item.task, level);
				check.feed(stretch, from - item.start);
				if (to === item.end) {
					listener.onEntry(index, check.finish(withData));
					check = undefined;
				}
			}
			from = to;
		}
	}
}

/** All of a part but what is not looked at. */
function rangesWithData({ start, end, items }: ScanPart): FileRange[] {
	const ranges: FileRange[] = [];
	let from = start;
	for (const item of items) {
		if (item.task !== undefined) continue;
		if (item.start > from) ranges.push({ start: from, end: item.start });
		from = item.end;
	}
	if (end > from) ranges.push({ start: from, end });
	return ranges;
}

/** What is not data; what lies near together at once. */
function rangesWithoutData({ items }: ScanPart): FileRange[] {
	const ranges: FileRange[] = [];
	for (const { start, end, task } of items) {
		if (task === undefined) continue;
		const data = dataRangeOf(task.dtype, task.shape);
		for (const range of [
			{ start, end: start + data.start },
			{ start: start + data.end, end },
		]) {
			const last = ranges.at(-1);
			if (last === undefined || range.start - last.end > NEAR_BYTES) ranges.push(range);
			else ranges[ranges.length - 1] = { start: last.start, end: range.end };
		}
	}
	return ranges;
}

/** From the first to the last byte that is not zero. */
function findNonZero(bytes: Uint8Array, position: number): FileRange | undefined {
	if (isZero(bytes)) return undefined;
	const start = bytes.findIndex((byte) => byte !== 0);
	const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
	return { start: position + start, end: position + end };
}

function isZero(bytes: Uint8Array): boolean {
	for (let from = 0; from < bytes.length; from += ZEROS.length) {
		const part = bytes.subarray(from, from + ZEROS.length);
		if (Buffer.compare(part, ZEROS.subarray(0, part.length)) !== 0) return false;
	}
	return true;
}
