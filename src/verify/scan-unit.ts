import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import {
	dataRangeOf,
	type EntryTask,
	type EntryVerdict,
	hasCanonicalLength,
} from "./entry-check.ts";
import type { VerifyLevel } from "./entry-check.ts";
import { type FileLayout, placeOf, type StoredItem } from "./places.ts";
import { FileEndsError, type FileRange } from "./read-ahead.ts";
import { type ScanItem, type ScanPart, scanPart } from "./scan.ts";

/** A part of a data file that is read in one go. Plain data. */
export interface ScanUnit {
	readonly file: string;
	readonly part: ScanPart;
}

/** What comes of the units of a scan; `unit` counts them. */
export interface UnitListener {
	/** @param item - Counts the items of the unit. */
	readonly onEntry: (unit: number, item: number, verdict: EntryVerdict) => void;
	/** Bytes that belong to no item, and are not zero. */
	readonly onPadding: (unit: number, range: FileRange) => void;
	/** The file, or what is left of the unit, cannot be read. */
	readonly onUnreadable: (unit: number, reason: string) => void;
	/** Bytes that were read since the last call. */
	readonly onRead: (bytes: number) => void;
}

/** How scans are done. */
export interface ScanOptions {
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	readonly level: VerifyLevel;
	readonly signal?: AbortSignal | undefined;
}

/** What of a file a scan looks at, and the items that it leaves to an audit. */
export interface DividedFile {
	readonly units: readonly ScanUnit[];
	/** What lies in each unit, item by item. */
	readonly contents: readonly (readonly StoredItem[])[];
	/** What cannot be what `torch.save` writes for a contiguous tensor. */
	readonly odd: readonly StoredItem[];
}

/**
 * Divides a file into units of about so many bytes, between entries.
 *
 * @param isOurs - Whether this program wrote it.
 */
export function divideFile(layout: FileLayout, isOurs: boolean, unitBytes: number): DividedFile {
	const units: ScanUnit[] = [];
	const contents: StoredItem[][] = [];
	const odd: StoredItem[] = [];
	let items: ScanItem[] = [];
	let content: StoredItem[] = [];
	let start = 0;
	const cut = (end: number): void => {
		if (end > start) {
			units.push({ file: layout.name, part: { start, end, items } });
			contents.push(content);
		}
		[items, content, start] = [[], [], end];
	};
	for (const item of layout.items) {
		// Zeros are in its place.
		if (item.kind === "entry" && item.entry.isElsewhere) continue;
		const { offset, length } = placeOf(item);
		if (offset - start >= unitBytes) cut(offset);
		const task = taskOf(item, isOurs);
		if (task === undefined) odd.push(item);
		items.push({ start: offset, end: offset + length, task });
		content.push(item);
	}
	cut(layout.bytes);
	return { units, contents, odd: [...odd, ...layout.buried] };
}

function taskOf(item: StoredItem, isOurs: boolean): EntryTask | undefined {
	if (item.kind === "object") return undefined;
	const { dtype, box, length, content } = item.entry;
	const shape = box.size;
	return hasCanonicalLength(dtype, shape, length) ? { dtype, shape, content, isOurs } : undefined;
}

/** Bytes of a unit that a scan reads at least: what progress and the number of threads are reckoned with. */
export function bytesOfUnit({ part }: ScanUnit, level: VerifyLevel): number {
	const { start, end, items } = part;
	if (level !== "quick") return end - start;
	return items.reduce((sum, { start: from, end: to, task }) => {
		if (task === undefined) return sum;
		const data = dataRangeOf(task.dtype, task.shape);
		return sum + (to - from) - (data.end - data.start);
	}, 0);
}

/** Scans one unit. A failure of the file is told to the listener. */
export async function scanUnit(
	{ directory, level, signal }: ScanOptions,
	unit: number,
	{ file, part }: ScanUnit,
	buffers: readonly Uint8Array[],
	listener: UnitListener,
): Promise<void> {
	const reason = await whyUnreadable(join(directory, file), (handle) =>
		scanPart(
			handle,
			part,
			level,
			buffers,
			{
				onEntry: (item, verdict) => listener.onEntry(unit, item, verdict),
				onPadding: (range) => listener.onPadding(unit, range),
				onRead: listener.onRead,
			},
			signal,
		),
	);
	if (reason !== undefined) listener.onUnreadable(unit, reason);
}

/** What keeps a file from being opened and read; `undefined` when nothing does. Other failures are thrown. */
export async function whyUnreadable(
	path: string,
	use: (handle: FileHandle) => Promise<void>,
): Promise<string | undefined> {
	try {
		const handle = await open(path, "r");
		try {
			await use(handle);
		} finally {
			await handle.close();
		}
		return undefined;
	} catch (error) {
		if (error instanceof Error && ("syscall" in error || error instanceof FileEndsError)) {
			return error.message;
		}
		throw error;
	}
}
