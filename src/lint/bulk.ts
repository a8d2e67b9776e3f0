import { at } from "../core/shape.ts";
import type { ReadCounts } from "./buffered-file.ts";
import type { PlacedTensor } from "./place.ts";
import type { OpenFile, ReadableEntry } from "./readable.ts";

/** Fewer items of a shard are read one by one. */
export const LEAST_BULK = 16;

/** Many entries of one shard that take the same whatever was read before: their sum is that of every rank. */
export interface Bulk extends ReadCounts {
	readonly entries: number;
	readonly dataBytes: number;
	readonly peakBytes: number;
	/** Bulks that read the same files share one list. */
	readonly files: readonly OpenFile[];
	/** Those that an earlier read may have left in a buffer, or that the end of their file cuts short. */
	readonly others: readonly ReadableEntry[];
}

/** What the items of one shard come to; worked out when it is first asked for. */
export type BulkOf = (tensor: PlacedTensor, shard: number) => Bulk;

/**
 * Sums up the items of shards, once for all ranks.
 *
 * An entry is read on its own account when no small one lies just before it in its file: only those leave something in the buffer.
 */
export function createBulks(
	entries: ReadonlyMap<PlacedTensor, readonly ReadableEntry[]>,
	bufferBytes: number,
): BulkOf {
	const known = new Map<PlacedTensor, Map<number, Bulk>>();
	const lists = new Map<string, readonly OpenFile[]>();
	let smalls: SmallEnds | undefined;
	return (tensor, shard) => {
		let ofTensor = known.get(tensor);
		if (ofTensor === undefined) known.set(tensor, (ofTensor = new Map<number, Bulk>()));
		let bulk = ofTensor.get(shard);
		if (bulk === undefined) {
			smalls ??= endsOfSmall(entries.values());
			const list = entries.get(tensor) ?? [];
			const read = at(tensor.reads, shard).items.map((position) => at(list, position));
			bulk = sumUp(read, bufferBytes, smalls, lists);
			ofTensor.set(shard, bulk);
		}
		return bulk;
	};
}

/** By file where the entries end that leave something in the buffer, ascending. */
type SmallEnds = ReadonlyMap<OpenFile, Float64Array>;

function leavesSomething({ kind: { left } }: ReadableEntry): boolean {
	return left.at < left.to;
}

function endsOfSmall(all: Iterable<readonly ReadableEntry[]>): SmallEnds {
	const ends = new Map<OpenFile, number[]>();
	for (const entries of all) {
		for (const entry of entries) {
			if (!leavesSomething(entry)) continue;
			const ofFile = ends.get(entry.file);
			const end = entry.offset + entry.length;
			if (ofFile === undefined) ends.set(entry.file, [end]);
			else ofFile.push(end);
		}
	}
	return new Map([...ends].map(([file, list]) => [file, Float64Array.from(list).toSorted()]));
}

function sumUp(
	entries: readonly ReadableEntry[],
	bufferBytes: number,
	smalls: SmallEnds,
	lists: Map<string, readonly OpenFile[]>,
): Bulk {
	const sum = { bytes: 0, calls: 0, entries: 0, dataBytes: 0, peakBytes: 0 };
	const others: ReadableEntry[] = [];
	const files = new Set<OpenFile>();
	for (const entry of entries) {
		const { offset, length, file, kind } = entry;
		const isCut = offset + length + bufferBytes > file.bytes;
		if (
			leavesSomething(entry) ||
			isCut ||
			lastUpTo(smalls.get(file), offset) >= offset - bufferBytes
		) {
			others.push(entry);
			continue;
		}
		files.add(file);
		sum.bytes += kind.cold.bytes;
		sum.calls += kind.cold.calls;
		sum.entries++;
		sum.dataBytes += kind.dataBytes;
		sum.peakBytes = Math.max(sum.peakBytes, kind.dataBytes);
	}
	const key = [...files].map(({ index }) => index).join();
	const list = lists.get(key) ?? [...files];
	lists.set(key, list);
	return { ...sum, files: list, others };
}

/** The last of an ascending list that is at most `value`. */
function lastUpTo(ascending: Float64Array | undefined, value: number): number {
	let low = 0;
	let high = ascending?.length ?? 0;
	while (low < high) {
		const middle = (low + high) >> 1;
		if ((ascending?.[middle] ?? 0) <= value) low = middle + 1;
		else high = middle;
	}
	return ascending?.[low - 1] ?? Number.NEGATIVE_INFINITY;
}
