import type { ByteRange, ByteSource, ReadOptions } from "../core/ports.ts";
import { at } from "../core/shape.ts";

/** What a source was asked for. */
export interface ReadCounters {
	/** Bytes that were needed and have been received. */
	neededBytes: number;
	/** Bytes that were asked for: those, and what lay between stretches that were read at once. */
	readBytes: number;
	/** Ranges that were read. */
	requests: number;
}

/** A gap of this size is read over: a request of its own takes longer than it saves. */
const MAX_GAP_BYTES = 64 * 1024;

/** No range that was joined is longer. */
const MAX_JOINED_BYTES = 4 * 1024 * 1024;

interface PendingRead {
	readonly range: ByteRange;
	readonly into: Uint8Array;
	readonly options: ReadOptions | undefined;
	readonly resolve: () => void;
	readonly reject: (reason: unknown) => void;
}

/**
 * Joins reads that are asked for at the same time and lie close to one another, as those of a tensor's columns do: a column of a matrix is
 * two bytes of every row. A read alone passes through as it is. The caller keeps `source`.
 *
 * @param counters - Counts on.
 * @param onRead - Called when a read was answered and counted.
 */
export function joinReads(
	source: ByteSource,
	counters: ReadCounters,
	onRead: () => void = () => {},
): ByteSource {
	let pending: PendingRead[] = [];
	const flush = (): void => {
		const reads = pending.toSorted(
			(a, b) =>
				(a.range.file < b.range.file ? -1 : a.range.file > b.range.file ? 1 : 0) ||
				a.range.start - b.range.start,
		);
		pending = [];
		for (const group of groupsOf(reads)) void readGroup(source, group, counters);
	};
	return {
		async readInto(range, into, options) {
			if (into.length > MAX_JOINED_BYTES) {
				counters.requests++;
				counters.readBytes += into.length;
				await source.readInto(range, into, options);
			} else {
				await new Promise<void>((resolve, reject) => {
					if (pending.length === 0) setImmediate(flush);
					pending.push({ range, into, options, resolve, reject });
				});
			}
			counters.neededBytes += into.length;
			onRead();
		},
		async [Symbol.asyncDispose]() {},
	};
}

function groupsOf(sorted: readonly PendingRead[]): PendingRead[][] {
	const groups: PendingRead[][] = [];
	let [start, end, file] = [0, 0, ""];
	for (const read of sorted) {
		const { range } = read;
		const group = groups.at(-1);
		const isNear =
			file === range.file &&
			range.start - end <= MAX_GAP_BYTES &&
			range.end - start <= MAX_JOINED_BYTES;
		if (group !== undefined && isNear) group.push(read);
		else {
			groups.push([read]);
			({ start, end, file } = range);
		}
		end = Math.max(end, range.end);
	}
	return groups;
}

/** Never rejects: each of the reads hears of a failure. */
async function readGroup(
	source: ByteSource,
	group: readonly PendingRead[],
	counters: ReadCounters,
): Promise<void> {
	const first = at(group, 0);
	const { file, start } = first.range;
	const end = group.reduce((max, { range }) => Math.max(max, range.end), 0);
	counters.requests++;
	counters.readBytes += end - start;
	try {
		const joined = group.length === 1 ? first.into : Buffer.allocUnsafe(end - start);
		await source.readInto({ file, start, end }, joined, first.options);
		for (const { range, into, resolve } of group) {
			if (group.length > 1) into.set(joined.subarray(range.start - start, range.end - start));
			resolve();
		}
	} catch (error) {
		for (const { reject } of group) reject(error);
	}
}
