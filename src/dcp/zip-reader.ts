import { corrupt, quote } from "./corrupt.ts";

/** Reads exactly `length` bytes at `offset` of something; both were checked to lie inside. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** A zip file, or the part of a file that holds one. */
export interface ZipSource {
	readonly readAt: ReadAt;
	readonly length: number;
	/** Name for messages. */
	readonly what: string;
}

/** A record as the central directory lists it. */
export interface ListedRecord {
	readonly name: string;
	readonly size: number;
	/** As listed; not checked. */
	readonly crc32: number;
	readonly headerOffset: number;
	/** General purpose flags. */
	readonly flags: number;
}

const END_SIGNATURE = 0x0605_4b50;
const END64_SIGNATURE = 0x0606_4b50;
const LOCATOR_SIGNATURE = 0x0706_4b50;
const CENTRAL_SIGNATURE = 0x0201_4b50;
const LOCAL_SIGNATURE = 0x0403_4b50;
const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const NONE32 = 0xffff_ffff;
const ZIP64_ID = 1;
const ENCRYPTED = 1;
/** The end record may be followed by a comment of up to 64 KiB. */
const LONGEST_TAIL = END_BYTES + 0xffff;
/** A saved tensor has seven records; a bound on what is read for the list. */
const MAX_DIRECTORY_BYTES = 1024 * 1024;

/**
 * Lists the records of a zip whose records are stored uncompressed.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT`
 */
export async function listZip(zip: ZipSource): Promise<readonly ListedRecord[]> {
	const { count, offset, bytes } = await findDirectory(zip);
	if (bytes > MAX_DIRECTORY_BYTES) throw damaged(zip, `has a directory of ${bytes} bytes`);
	const directory = await read(zip, offset, bytes);
	const records: ListedRecord[] = [];
	let cursor = 0;
	while (records.length < count) {
		if (cursor + CENTRAL_BYTES > directory.length) throw damaged(zip, "has a cut directory");
		const { record, next } = readCentral(zip, directory, cursor);
		records.push(record);
		cursor = next;
	}
	return records;
}

/** Where the data of a record begins: behind a local header whose length only it knows. */
export async function locateData(zip: ZipSource, record: ListedRecord): Promise<number> {
	const header = await read(zip, record.headerOffset, LOCAL_BYTES);
	if (header.readUInt32LE(0) !== LOCAL_SIGNATURE) {
		throw damaged(zip, `has no header for ${quote(record.name)}`);
	}
	const names = header.readUInt16LE(26) + header.readUInt16LE(28);
	const dataOffset = record.headerOffset + LOCAL_BYTES + names;
	if (dataOffset + record.size > zip.length) {
		throw damaged(zip, `ends before the data of ${quote(record.name)} does`);
	}
	return dataOffset;
}

/** Where the central directory of a zip is. */
export interface ZipDirectory {
	/** Records in it. */
	readonly count: number;
	/** From the start of the zip. */
	readonly offset: number;
	readonly bytes: number;
}

/**
 * Finds the central directory by the end records, as every reader does.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT`
 */
export async function findDirectory(zip: ZipSource): Promise<ZipDirectory> {
	const tailStart = Math.max(0, zip.length - LONGEST_TAIL - LOCATOR_BYTES);
	const tail = await read(zip, tailStart, zip.length - tailStart);
	let end = tail.length - END_BYTES;
	while (end >= 0 && tail.readUInt32LE(end) !== END_SIGNATURE) end--;
	if (end < 0) throw damaged(zip, "is no zip file");
	const locator = end - LOCATOR_BYTES;
	if (locator >= 0 && tail.readUInt32LE(locator) === LOCATOR_SIGNATURE) {
		return readEnd64(zip, u64(zip, tail, locator + 8));
	}
	return {
		count: tail.readUInt16LE(end + 10),
		bytes: tail.readUInt32LE(end + 12),
		offset: tail.readUInt32LE(end + 16),
	};
}

async function readEnd64(zip: ZipSource, offset: number): Promise<ZipDirectory> {
	const end = await read(zip, offset, END64_BYTES);
	if (end.readUInt32LE(0) !== END64_SIGNATURE) throw damaged(zip, "has no zip64 end record");
	return { count: u64(zip, end, 32), bytes: u64(zip, end, 40), offset: u64(zip, end, 48) };
}

function readCentral(
	zip: ZipSource,
	directory: Buffer,
	start: number,
): { record: ListedRecord; next: number } {
	if (directory.readUInt32LE(start) !== CENTRAL_SIGNATURE) {
		throw damaged(zip, "has a damaged directory");
	}
	const flags = directory.readUInt16LE(start + 8);
	const method = directory.readUInt16LE(start + 10);
	const nameEnd = start + CENTRAL_BYTES + directory.readUInt16LE(start + 28);
	const extraEnd = nameEnd + directory.readUInt16LE(start + 30);
	const next = extraEnd + directory.readUInt16LE(start + 32);
	if (next > directory.length) throw damaged(zip, "has a cut directory");
	const name = directory.toString("utf8", start + CENTRAL_BYTES, nameEnd);
	if (method !== 0 || flags % 2 === ENCRYPTED) {
		throw damaged(zip, `has the compressed or encrypted record ${quote(name)}`);
	}
	// A field that is all ones has its value in the zip64 extra field; they stand there in this order.
	const wide = zip64Values(zip, directory.subarray(nameEnd, extraEnd));
	const value = (field: number): number => {
		const short = directory.readUInt32LE(start + field);
		return short === NONE32 ? (wide.shift() ?? NONE32) : short;
	};
	const size = value(24);
	const storedSize = value(20);
	const headerOffset = value(42);
	if (size !== storedSize) throw damaged(zip, `has two sizes for ${quote(name)}`);
	const crc32 = directory.readUInt32LE(start + 16);
	return { record: { name, size, crc32, headerOffset, flags }, next };
}

function zip64Values(zip: ZipSource, extra: Buffer): number[] {
	let cursor = 0;
	while (cursor + 4 <= extra.length) {
		const id = extra.readUInt16LE(cursor);
		const end = cursor + 4 + extra.readUInt16LE(cursor + 2);
		if (end > extra.length) throw damaged(zip, "has a cut extra field");
		if (id === ZIP64_ID) {
			const values: number[] = [];
			for (let field = cursor + 4; field + 8 <= end; field += 8)
				values.push(u64(zip, extra, field));
			return values;
		}
		cursor = end;
	}
	return [];
}

function u64(zip: ZipSource, bytes: Buffer, offset: number): number {
	const value = Number(bytes.readBigUInt64LE(offset));
	if (!Number.isSafeInteger(value)) throw damaged(zip, "has an impossible size");
	return value;
}

async function read(zip: ZipSource, offset: number, length: number): Promise<Buffer> {
	if (offset + length > zip.length) throw damaged(zip, "is cut off or damaged");
	const bytes = await zip.readAt(offset, length);
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(zip: ZipSource, message: string): Error {
	return corrupt(`${zip.what} ${message}`);
}
