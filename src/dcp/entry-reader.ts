import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "../checksum/crc32.ts";
import { formatBox } from "../core/box.ts";
import { type Dtype, itemBytes } from "../core/dtype.ts";
import type { Entry } from "../core/ports.ts";
import {
	at,
	contiguousStrides,
	formatShape,
	numel,
	type Shape,
	shapesEqual,
} from "../core/shape.ts";
import { corrupt, quote } from "./corrupt.ts";
import { reading } from "./read-error.ts";
import { checkRelativePath } from "./relative-path.ts";
import { type LocatedTensor, locateTensor } from "./tensor-reader.ts";

/** Linux reads at most this much per call; also small enough for one buffer everywhere. */
const MAX_READ_BYTES = 0x4000_0000;

/** The tensor that an entry holds. */
export interface EntryData {
	readonly dtype: Dtype;
	/** Shape of the chunk. */
	readonly shape: Shape;
	/** Elements in row-major order, little-endian. */
	readonly data: Uint8Array;
}

/** Options of {@link readEntryData}. */
export interface ReadEntryOptions {
	/** Whether the data must have the CRC-32 that the entry states; torch does not check it. @default false */
	readonly verify?: boolean | undefined;
}

/**
 * Reads one chunk of a checkpoint.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` when the entry is not the chunk that the metadata promises;
 * `SOURCE_UNREADABLE` when the file cannot be read.
 */
export async function readEntryData(
	directory: string,
	entry: Entry,
	options: ReadEntryOptions = {},
): Promise<EntryData> {
	return withEntry(directory, entry, async (handle, tensor) => {
		const what = describe(entry);
		const storage = await readFully(
			handle,
			entry.offset + tensor.dataOffset,
			tensor.dataBytes,
			what,
		);
		if (options.verify === true && crc32(storage) !== tensor.crc32) {
			throw corrupt(`the data of ${what} does not have its checksum`);
		}
		const { dtype, shape } = tensor;
		return { dtype, shape, data: toContiguous(storage, tensor) };
	});
}

/**
 * Finds the data of one chunk without reading it.
 *
 * @returns As {@link LocatedTensor}, but `dataOffset` counts from the start of the file.
 * @throws {HfStreamDcpError} as {@link readEntryData}.
 */
export async function locateEntryData(directory: string, entry: Entry): Promise<LocatedTensor> {
	return withEntry(directory, entry, (_, tensor) =>
		Promise.resolve({ ...tensor, dataOffset: entry.offset + tensor.dataOffset }),
	);
}

function describe(entry: Entry): string {
	return `${quote(entry.fqn)} ${formatBox(entry.box)} in ${quote(entry.file)}`;
}

async function withEntry<T>(
	directory: string,
	entry: Entry,
	use: (handle: FileHandle, tensor: LocatedTensor) => Promise<T>,
): Promise<T> {
	const path = join(directory, checkRelativePath(entry.file));
	const what = describe(entry);
	return reading(path, async () => {
		const handle = await open(path, "r");
		try {
			const { size } = await handle.stat();
			if (entry.offset + entry.length > size) {
				throw corrupt(
					`${what} ends at byte ${entry.offset + entry.length}, and the file has ${size}`,
				);
			}
			const tensor = await locateTensor({
				what,
				length: entry.length,
				readAt: (offset, length) => readFully(handle, entry.offset + offset, length, what),
			});
			if (tensor.dtype !== entry.dtype || !shapesEqual(tensor.shape, entry.box.size)) {
				throw corrupt(`${what} is ${tensor.dtype} ${formatShape(tensor.shape)} there`);
			}
			return await use(handle, tensor);
		} finally {
			await handle.close();
		}
	});
}

async function readFully(
	handle: FileHandle,
	position: number,
	length: number,
	what: string,
): Promise<Uint8Array> {
	const bytes = Buffer.allocUnsafe(length);
	let done = 0;
	while (done < length) {
		const count = Math.min(length - done, MAX_READ_BYTES);
		const { bytesRead } = await handle.read(bytes, done, count, position + done);
		if (bytesRead === 0) throw corrupt(`the file ends inside ${what}`);
		done += bytesRead;
	}
	return bytes;
}

/** The elements of a tensor out of its storage, in row-major order. */
function toContiguous(storage: Uint8Array, tensor: LocatedTensor): Uint8Array {
	const { dtype, shape, strides, storageOffset } = tensor;
	const item = itemBytes(dtype);
	const count = numel(shape);
	const expected = contiguousStrides(shape);
	const isContiguous = shape.every(
		(size, axis) => size <= 1 || strides[axis] === at(expected, axis),
	);
	const start = storageOffset * item;
	if (isContiguous || count === 0) return storage.subarray(start, start + count * item);
	const data = new Uint8Array(count * item);
	const index = shape.map(() => 0);
	for (let element = 0; element < count; element++) {
		let from = storageOffset;
		for (const [axis, position] of index.entries()) from += position * at(strides, axis);
		data.set(storage.subarray(from * item, (from + 1) * item), element * item);
		for (let axis = shape.length - 1; axis >= 0; axis--) {
			const next = at(index, axis) + 1;
			index[axis] = next < at(shape, axis) ? next : 0;
			if (next < at(shape, axis)) break;
		}
	}
	return data;
}
