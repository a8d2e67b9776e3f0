import type { Entry } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { openBuffered, readAll, type ReadCounts } from "./buffered-file.ts";
import { type Bulk, createBulks, LEAST_BULK } from "./bulk.ts";
import { entryReads, loadEntry } from "./entry-reads.ts";
import type { Placement, PlacedTensor } from "./place.ts";
import { rankClasses, shardsOfRank } from "./ranks.ts";
import type { EntryKind, OpenFile, ReadableEntry } from "./readable.ts";
import type { RankCost, TensorCost } from "./types.ts";

/** What {@link costsOf} needs. */
export interface CostOptions {
	readonly placement: Placement;
	readonly worldSize: number;
	/** Sizes of the data files. One that is missing has none. */
	readonly fileBytes: ReadonlyMap<string, number>;
	/** Of the reader that Python puts before a file. */
	readonly bufferBytes: number;
}

/** Tells what a rank reads, tensor by tensor. */
export type RankReader = (rank: number, onTensor?: (cost: TensorCost) => void) => RankCost;

/** What every rank reads; ranks that hold the same are worked out once. */
export function costsOf(options: CostOptions): {
	readonly ranks: readonly RankCost[];
	readonly readRank: RankReader;
} {
	const { placement, worldSize } = options;
	const readRank = createRankReader(options);
	const holdings = new Set(
		placement.items.flatMap((item) => (item.kind === "tensor" ? [item.holdings] : [])),
	);
	const leaders = rankClasses(holdings, worldSize);
	const ranks: RankCost[] = [];
	for (const [rank, leader] of leaders.entries()) {
		ranks.push(leader === rank ? readRank(rank) : { ...at(ranks, leader), rank });
	}
	return { ranks, readRank };
}

function createRankReader({ placement, fileBytes, bufferBytes }: CostOptions): RankReader {
	const { entries, fileOf } = readableEntries(placement, fileBytes, bufferBytes);
	const bulkOf = createBulks(entries, bufferBytes);
	let opening = 0;
	return (rank, onTensor) => {
		const reader = new Reading(bufferBytes, opening++);
		let neededBytes = 0;
		for (const item of placement.items) {
			const before = { bytes: reader.counts.bytes, entries: reader.entries, needed: neededBytes };
			if (item.kind === "object") {
				reader.readObject(fileOf(item.stored.file), item.stored.offset, item.stored.length);
			} else {
				const list = entries.get(item) ?? [];
				for (const shard of shardsOfRank(item.holdings, rank)) {
					const { items, wanted } = at(item.reads, shard);
					neededBytes += wanted * item.itemBytes;
					if (items.length >= LEAST_BULK) reader.readBulk(bulkOf(item, shard));
					else for (const position of items) reader.readEntry(at(list, position));
				}
			}
			onTensor?.({
				fqn: item.fqn,
				readBytes: reader.counts.bytes - before.bytes,
				neededBytes: neededBytes - before.needed,
				entries: reader.entries - before.entries,
			});
		}
		return { rank, neededBytes, ...reader.sums() };
	};
}

/** The entries of every tensor, by the boxes of its grid, in files that no rank has opened yet. */
function readableEntries(
	{ items }: Placement,
	fileBytes: CostOptions["fileBytes"],
	bufferBytes: number,
): {
	readonly entries: ReadonlyMap<PlacedTensor, readonly ReadableEntry[]>;
	readonly fileOf: (name: string) => OpenFile;
} {
	const files = new Map<string, OpenFile>();
	const fileOf = (name: string): OpenFile => {
		let file = files.get(name);
		if (file === undefined) {
			const bytes = fileBytes.get(name) ?? Number.POSITIVE_INFINITY;
			file = { index: files.size, bytes, buffer: openBuffered(), openedBy: -1 };
			files.set(name, file);
		}
		return file;
	};
	const kindOf = createKinds(bufferBytes);
	const entries = new Map<PlacedTensor, readonly ReadableEntry[]>();
	for (const item of items) {
		if (item.kind === "object") continue;
		const { stored, full } = item;
		const kept = full?.map((position) => at(stored.entries, position)) ?? stored.entries;
		const readable = kept.map((entry) => ({
			offset: entry.offset,
			length: entry.length,
			file: fileOf(entry.file),
			kind: kindOf(entry),
		}));
		entries.set(item, readable);
	}
	return { entries, fileOf };
}

/** What one rank has read so far. Every file is opened once; what of it is buffered carries over from entry to entry. */
class Reading {
	readonly counts: ReadCounts = { bytes: 0, calls: 0 };
	entries = 0;
	files = 0;
	dataBytes = 0;
	peakBytes = 0;
	readonly #bufferBytes: number;
	readonly #opening: number;
	readonly #opened = new Set<readonly OpenFile[]>();

	constructor(bufferBytes: number, opening: number) {
		this.#bufferBytes = bufferBytes;
		this.#opening = opening;
	}

	readEntry({ offset, length, file, kind }: ReadableEntry): void {
		const { counts } = this;
		this.#open(file);
		const { buffer, bytes } = file;
		const isWarm = buffer.at < buffer.to && offset >= buffer.from && offset <= buffer.to;
		if (isWarm || offset + length + this.#bufferBytes > bytes) {
			loadEntry(kind, offset, buffer, bytes, this.#bufferBytes, counts);
		} else {
			counts.bytes += kind.cold.bytes;
			counts.calls += kind.cold.calls;
			buffer.from = offset + kind.left.from;
			buffer.to = offset + kind.left.to;
			buffer.at = offset + kind.left.at;
		}
		this.#count(kind.dataBytes);
	}

	readBulk(bulk: Bulk): void {
		this.counts.bytes += bulk.bytes;
		this.counts.calls += bulk.calls;
		this.entries += bulk.entries;
		this.dataBytes += bulk.dataBytes;
		this.peakBytes = Math.max(this.peakBytes, bulk.peakBytes);
		for (const entry of bulk.others) this.readEntry(entry);
		if (this.#opened.has(bulk.files)) return;
		this.#opened.add(bulk.files);
		for (const file of bulk.files) this.#open(file);
	}

	readObject(file: OpenFile, offset: number, length: number): void {
		this.#open(file);
		readAll(file.buffer, offset, length, file.bytes, this.#bufferBytes, this.counts);
		this.#count(length);
	}

	sums(): Omit<RankCost, "rank" | "neededBytes"> {
		const { counts, dataBytes, entries, files, peakBytes } = this;
		return {
			readBytes: counts.bytes,
			dataBytes,
			entries,
			reads: counts.calls,
			files,
			peakBytes,
		};
	}

	#open(file: OpenFile): void {
		if (file.openedBy === this.#opening) return;
		file.openedBy = this.#opening;
		file.buffer.from = file.buffer.to = file.buffer.at = 0;
		this.files++;
	}

	#count(bytes: number): void {
		this.entries++;
		this.dataBytes += bytes;
		if (bytes > this.peakBytes) this.peakBytes = bytes;
	}
}

function createKinds(bufferBytes: number): (entry: Entry) => EntryKind {
	const kinds = new Map<string, EntryKind>();
	return ({ dtype, box, length }) => {
		const key = `${dtype} ${box.size.join()} ${length}`;
		let kind = kinds.get(key);
		if (kind === undefined) {
			const reads = entryReads(dtype, box.size, length);
			const cold: ReadCounts = { bytes: 0, calls: 0 };
			const left = openBuffered();
			loadEntry(reads, 0, left, Number.POSITIVE_INFINITY, bufferBytes, cold);
			kinds.set(key, (kind = { ...reads, cold, left }));
		}
		return kind;
	};
}
