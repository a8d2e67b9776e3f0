import { ByteWriter } from "./byte-writer.ts";

/**
 * The zip form of PyTorch's stream writer (miniz): records are stored, not compressed, start on a multiple of 64 bytes, and carry
 * their CRC and sizes behind the data. What differs from a common zip: local CRC and sizes are always 0, there is always a zip64
 * end record, and versions and times are 0.
 *
 * @see torch 2.13 `caffe2/serialize/inline_container.cc`, `third_party/miniz-3.0.2/miniz.c`
 */
const ZIP_ALIGNMENT_BYTES = 64;

/** Sizes and offsets from here on do not fit the 32-bit fields. */
const ZIP64_LIMIT = 0xffff_ffff;
const LOCAL_HEADER_BYTES = 30;
const CENTRAL_HEADER_BYTES = 46;
const PADDING_HEADER_BYTES = 4;
const END_BYTES = 56 + 20 + 22;

/** Where one record of a zip file lies. Offsets and sizes in bytes, from the start of the zip. */
export interface ZipRecord {
	/** Path inside the zip; ASCII. */
	readonly name: string;
	readonly size: number;
	/** Of its local header. */
	readonly headerOffset: number;
	/** Of its data, a multiple of {@link ZIP_ALIGNMENT_BYTES}. */
	readonly dataOffset: number;
}

/** Lays out records in the given order; every place follows from names and sizes. */
export function layOutZip(records: readonly { name: string; size: number }[]): ZipRecord[] {
	let cursor = 0;
	return records.map(({ name, size }) => {
		const start =
			cursor +
			LOCAL_HEADER_BYTES +
			name.length +
			zip64Bytes({ size, headerOffset: cursor }) +
			PADDING_HEADER_BYTES;
		const dataOffset = Math.ceil(start / ZIP_ALIGNMENT_BYTES) * ZIP_ALIGNMENT_BYTES;
		const record = { name, size, headerOffset: cursor, dataOffset };
		cursor = dataOffset + size + descriptorBytes(record);
		return record;
	});
}

/** Length of the zip that has these records. */
export function zipLength(records: readonly ZipRecord[]): number {
	let length = zipDirectoryOffset(records) + END_BYTES;
	for (const record of records) {
		length += CENTRAL_HEADER_BYTES + record.name.length + zip64Bytes(record);
	}
	return length;
}

/** The header before a record's data, padding included. */
export function writeLocalHeader(out: ByteWriter, record: ZipRecord): void {
	const zip64 = zip64Bytes(record);
	const extra = record.dataOffset - record.headerOffset - LOCAL_HEADER_BYTES - record.name.length;
	out.u32(0x0403_4b50);
	out.u16(0);
	writeFlagsAndMethod(out, record);
	out.fill(0, 16);
	out.u16(record.name.length);
	out.u16(extra);
	out.latin1(record.name);
	// The compressed size is not known to a stream writer here, so torch leaves 0.
	writeZip64(out, record, 0);
	const padding = extra - zip64 - PADDING_HEADER_BYTES;
	out.latin1("FB");
	out.u16(padding);
	out.fill(0x5a, padding);
}

/** What follows a record's data. */
export function writeDescriptor(out: ByteWriter, record: ZipRecord, crc32: number): void {
	if (record.size === 0) return;
	out.u32(0x0807_4b50);
	out.u32(crc32);
	for (let field = 0; field < 2; field++) {
		if (zip64Bytes(record) > 0) out.u64(record.size);
		else out.u32(record.size);
	}
}

/** The central directory and the three end records. `crcs[i]` belongs to `records[i]`. */
export function writeDirectory(
	out: ByteWriter,
	records: readonly ZipRecord[],
	crcs: readonly number[],
): void {
	const start = out.length;
	for (const [index, record] of records.entries())
		writeCentralHeader(out, record, crcs[index] ?? 0);
	const bytes = out.length - start;
	const offset = zipDirectoryOffset(records);
	writeEnd(out, records.length, bytes, offset);
}

function writeCentralHeader(out: ByteWriter, record: ZipRecord, crc32: number): void {
	const size = Math.min(record.size, ZIP64_LIMIT);
	out.u32(0x0201_4b50);
	out.u32(0);
	writeFlagsAndMethod(out, record);
	out.fill(0, 4);
	out.u32(crc32);
	out.u32(size);
	out.u32(size);
	out.u16(record.name.length);
	out.u16(zip64Bytes(record));
	out.fill(0, 10);
	out.u32(Math.min(record.headerOffset, ZIP64_LIMIT));
	out.latin1(record.name);
	writeZip64(out, record, record.size);
}

function writeEnd(out: ByteWriter, count: number, bytes: number, offset: number): void {
	out.u32(0x0606_4b50);
	out.u64(44);
	out.u16(0x031e);
	out.u16(45);
	out.fill(0, 8);
	out.u64(count);
	out.u64(count);
	out.u64(bytes);
	out.u64(offset);
	out.u32(0x0706_4b50);
	out.u32(0);
	out.u64(offset + bytes);
	out.u32(1);
	out.u32(0x0605_4b50);
	out.u32(0);
	out.u16(count);
	out.u16(count);
	out.u32(bytes);
	out.u32(Math.min(offset, ZIP64_LIMIT));
	out.u16(0);
}

/** Flags (UTF-8 names; a data descriptor when there is data) and the method, which is 0: stored. */
function writeFlagsAndMethod(out: ByteWriter, record: ZipRecord): void {
	out.u16(record.size === 0 ? 0x0800 : 0x0808);
	out.u16(0);
}

function writeZip64(out: ByteWriter, record: ZipRecord, compressedSize: number): void {
	const bytes = zip64Bytes(record);
	if (bytes === 0) return;
	out.u16(1);
	out.u16(bytes - 4);
	if (record.size >= ZIP64_LIMIT) {
		out.u64(record.size);
		out.u64(compressedSize);
	}
	if (record.headerOffset >= ZIP64_LIMIT) out.u64(record.headerOffset);
}

function zip64Bytes({ size, headerOffset }: { size: number; headerOffset: number }): number {
	const sizes = size >= ZIP64_LIMIT ? 16 : 0;
	const offset = headerOffset >= ZIP64_LIMIT ? 8 : 0;
	return sizes + offset === 0 ? 0 : 4 + sizes + offset;
}

function descriptorBytes(record: ZipRecord): number {
	if (record.size === 0) return 0;
	return zip64Bytes(record) > 0 ? 24 : 16;
}

function zipDirectoryOffset(records: readonly ZipRecord[]): number {
	const last = records.at(-1);
	return last === undefined ? 0 : last.dataOffset + last.size + descriptorBytes(last);
}
