import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Dtype } from "../core/dtype.ts";
import { isHfStreamDcpError } from "../core/errors.ts";
import type { Entry } from "../core/ports.ts";
import { at, contiguousStrides, type Shape } from "../core/shape.ts";
import { forEachAtOnce } from "../files/concurrently.ts";
import { locateEntryData } from "./entry-reader.ts";
import { reading } from "./read-error.ts";
import { checkRelativePath } from "./relative-path.ts";
import type { LocatedTensor } from "./tensor-reader.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "./torch-save.ts";

/** Containers that are no further apart are read with what lies between them: a read costs more than that. Bytes. */
const GAP_BYTES = 16 * 1024;

/** Most that is read at once. */
const MOST_BYTES = 1024 * 1024;

/** Options of {@link locateEntries}. */
export interface LocateOptions {
	readonly signal?: AbortSignal | undefined;
	/** Called for an entry that cannot be located, which is left out then. @default the first one ends it all */
	readonly onDamage?: ((entry: Entry, error: Error) => void) | undefined;
}

/**
 * Finds the data of many entries without reading it: one small read for each, where it is what `torch.save` and this program write of
 * a contiguous tensor; as {@link locateEntryData} finds it otherwise.
 *
 * @returns For each entry as {@link locateEntryData} returns it, but for those that `onDamage` was told of.
 * @throws {HfStreamDcpError} as {@link locateEntryData}, without `onDamage`. @throws `signal.reason` when aborted.
 */
export async function locateEntries(
	directory: string,
	entries: readonly Entry[],
	options: LocateOptions = {},
): Promise<ReadonlyMap<Entry, LocatedTensor>> {
	const { signal, onDamage } = options;
	const located = new Map<Entry, LocatedTensor>();
	const others: Entry[] = [];
	await forEachAtOnce(batchesOf(entries), async (batch) => {
		signal?.throwIfAborted();
		const places = await locateUsual(directory, batch);
		for (const { entry } of batch) {
			const place = places.get(entry);
			if (place === undefined) others.push(entry);
			else located.set(entry, place);
		}
	});
	await forEachAtOnce(others, async (entry) => {
		signal?.throwIfAborted();
		try {
			located.set(entry, await locateEntryData(directory, entry));
		} catch (error) {
			if (onDamage === undefined || !isHfStreamDcpError(error)) throw error;
			onDamage(entry, error);
		}
	});
	return located;
}

/** What is read of one entry: everything but its data. */
interface Container {
	readonly entry: Entry;
	readonly prefixBytes: number;
	readonly dataBytes: number;
	readonly suffixBytes: number;
}

/** Entries that are looked at together. */
const BATCH = 64;

/**
 * Neighbours of one file, a few at a time.
 *
 * @yields those of one file after the other.
 */
function* batchesOf(entries: readonly Entry[]): Generator<readonly Container[]> {
	const files = new Map<string, Entry[]>();
	for (const entry of entries) {
		const own = files.get(entry.file);
		if (own === undefined) files.set(entry.file, [entry]);
		else own.push(entry);
	}
	for (const own of files.values()) {
		own.sort((a, b) => a.offset - b.offset);
		for (let first = 0; first < own.length; first += BATCH) {
			yield own.slice(first, first + BATCH).map(containerOf);
		}
	}
}

function containerOf(entry: Entry): Container {
	return { entry, ...torchSaveFormat.geometry(entry.dtype, entry.box.size) };
}

/** Places of those of a batch, all of one file, whose container is the usual one. */
async function locateUsual(
	directory: string,
	batch: readonly Container[],
): Promise<ReadonlyMap<Entry, LocatedTensor>> {
	const places = new Map<Entry, LocatedTensor>();
	const usual = batch.filter(({ entry, prefixBytes, dataBytes, suffixBytes }) => {
		return entry.length === prefixBytes + dataBytes + suffixBytes;
	});
	const path = join(directory, checkRelativePath(at(batch, 0).entry.file));
	// Of a file that cannot be read whoever looks at its entries one by one says what is wrong.
	const handle = await open(path, "r").catch(() => undefined);
	if (handle === undefined) return places;
	try {
		const take = await reading(path, () => readSpans(handle, spansOf(usual)));
		for (const container of usual) {
			const place = placeOf(container, take);
			if (place !== undefined) places.set(container.entry, place);
		}
	} finally {
		await handle.close();
	}
	return places;
}

interface Span {
	readonly start: number;
	end: number;
}

/** What is to be read, in order; neighbours are joined. */
function spansOf(containers: readonly Container[]): readonly Span[] {
	const spans: Span[] = [];
	const add = (start: number, end: number): void => {
		const last = spans.at(-1);
		const isNear =
			last !== undefined && start - last.end <= GAP_BYTES && end - last.start <= MOST_BYTES;
		if (isNear) last.end = Math.max(last.end, end);
		else spans.push({ start, end });
	};
	for (const { entry, prefixBytes, suffixBytes } of containers) {
		const end = entry.offset + entry.length;
		add(entry.offset, entry.offset + prefixBytes);
		add(end - suffixBytes, end);
	}
	return spans;
}

/** Bytes `start` up to `start + length`, which one span holds; `undefined` where the file ends before. */
type Take = (start: number, length: number) => Buffer | undefined;

async function readSpans(handle: FileHandle, spans: readonly Span[]): Promise<Take> {
	const read: { readonly start: number; readonly bytes: Buffer }[] = [];
	for (const { start, end } of spans) {
		const bytes = Buffer.allocUnsafe(end - start);
		const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
		read.push({ start, bytes: bytes.subarray(0, bytesRead) });
	}
	return (start, length) => {
		const from = at(read, lastAtMost(read, start));
		const bytes = from.bytes.subarray(start - from.start, start - from.start + length);
		return bytes.length === length ? bytes : undefined;
	};
}

/** Index of the last span that begins at `start` or before. */
function lastAtMost(spans: readonly { readonly start: number }[], start: number): number {
	let [low, high] = [0, spans.length - 1];
	while (low < high) {
		const middle = (low + high + 1) >> 1;
		if (at(spans, middle).start <= start) low = middle;
		else high = middle - 1;
	}
	return low;
}

/** Where the CRC-32 of the data stands behind it: after a signature. */
const CRC_OFFSET = 4;

/** The place of the data, when all around it is what it must be for a contiguous tensor of this dtype and shape. */
function placeOf(container: Container, take: Take): LocatedTensor | undefined {
	const { entry, prefixBytes, dataBytes, suffixBytes } = container;
	const { dtype, offset } = entry;
	const shape = entry.box.size;
	const dataOffset = offset + prefixBytes;
	const prefix = take(offset, prefixBytes);
	const suffix = take(dataOffset + dataBytes, suffixBytes);
	if (prefix === undefined || suffix === undefined) return undefined;
	const crc32 = dataBytes === 0 ? 0 : suffix.readUInt32LE(CRC_OFFSET);
	if (!prefix.equals(prefixOf(dtype, shape))) return undefined;
	if (!suffix.equals(encodeSuffix(dtype, shape, crc32))) return undefined;
	const strides = contiguousStrides(shape);
	return { dtype, shape, strides, storageOffset: 0, dataOffset, dataBytes, crc32 };
}

/** A checkpoint has many entries of few shapes. */
const prefixes = new Map<string, Uint8Array>();
const MOST_PREFIXES = 1024;

function prefixOf(dtype: Dtype, shape: Shape): Uint8Array {
	const key = `${dtype} ${shape.join()}`;
	let prefix = prefixes.get(key);
	if (prefix === undefined) {
		if (prefixes.size >= MOST_PREFIXES) prefixes.clear();
		prefix = encodePrefix(dtype, shape);
		prefixes.set(key, prefix);
	}
	return prefix;
}
