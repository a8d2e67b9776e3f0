import { isHfStreamDcpError } from "../core/errors.ts";
import { quote } from "./corrupt.ts";
import { findDirectory, type ListedRecord, listZip, type ZipSource } from "./zip-reader.ts";

/** A record of a zip, where its data lies and what its checksum must be. */
export interface AuditedRecord extends ListedRecord {
	/** From the start of the zip. */
	readonly dataOffset: number;
}

/** What is not as it must be in a zip: a sentence without a subject, and the bytes from the start of the zip. */
export interface ZipFault {
	readonly message: string;
	readonly range?: { readonly start: number; readonly end: number } | undefined;
}

/** A zip that was looked at closely. */
export interface ZipAudit {
	/** In the order of their places; those whose headers are where the directory says. */
	readonly records: readonly AuditedRecord[];
	/** None for a zip as torch writes it. */
	readonly faults: readonly ZipFault[];
}

const LOCAL_SIGNATURE = 0x0403_4b50;
const DESCRIPTOR_SIGNATURE = 0x0807_4b50;
const END_SIGNATURE = 0x0605_4b50;
const END64_SIGNATURE = 0x0606_4b50;
const LOCATOR_SIGNATURE = 0x0706_4b50;
const LOCAL_BYTES = 30;
const END_BYTES = 22;
const END64_BYTES = 56;
const LOCATOR_BYTES = 20;
const HAS_DESCRIPTOR = 8;
/** Extra field that torch fills up to a multiple of 64 with. */
const PADDING_ID = 0x4246;
const PADDING_BYTE = 0x5a;

/**
 * Looks at everything in a zip but the data of its records: that headers, descriptors, directory and end records say the same, and that
 * nothing lies between or behind them. Stricter than a reader needs, as strict as torch writes.
 */
export async function auditZip(zip: ZipSource): Promise<ZipAudit> {
	try {
		const listed = await listZip(zip);
		const faults = await auditEnd(zip, listed.length);
		const twice = listed.find(
			({ name }, index) => listed.findIndex((other) => other.name === name) < index,
		);
		if (twice !== undefined) faults.push({ message: `has two records ${quote(twice.name)}` });
		const records = await auditRecords(zip, listed, faults);
		return { records, faults };
	} catch (error) {
		if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT")) throw error;
		const message = error.message.startsWith(zip.what)
			? error.message.slice(zip.what.length + 1)
			: error.message;
		return { records: [], faults: [{ message }] };
	}
}

/** Whether a field of the end record holds `value`, or `all` ones when it does not fit. */
function fits(value: number, field: number, all: number): boolean {
	return field === Math.min(value, all);
}

/** The end records: the last bytes of the zip, one right behind the other. */
async function auditEnd(zip: ZipSource, count: number): Promise<ZipFault[]> {
	const directory = await findDirectory(zip);
	const directoryEnd = directory.offset + directory.bytes;
	const bytes = zip.length - directoryEnd;
	const range = { start: directoryEnd, end: zip.length };
	const damaged = (what: string): ZipFault[] => [
		{ message: `has a damaged end record (${what})`, range },
	];
	const has64 = bytes === END64_BYTES + LOCATOR_BYTES + END_BYTES;
	if (!has64 && bytes !== END_BYTES) return damaged("something lies before or behind it");
	const end = await readBytes(zip, directoryEnd, bytes);
	const at32 = (offset: number): number => end.readUInt32LE(offset);
	const last = bytes - END_BYTES;
	if (at32(last) !== END_SIGNATURE || at32(last + 4) !== 0 || end.readUInt16LE(last + 20) !== 0) {
		return damaged("signature, disks or comment");
	}
	const counts = [8, 10].every((field) => fits(count, end.readUInt16LE(last + field), 0xffff));
	const places =
		fits(directory.bytes, at32(last + 12), 0xffff_ffff) &&
		fits(directory.offset, at32(last + 16), 0xffff_ffff);
	if (!counts || !places) return damaged("the directory's place or length");
	if (!has64) return [];
	const u64 = (offset: number): number => Number(end.readBigUInt64LE(offset));
	const isWhole =
		at32(0) === END64_SIGNATURE &&
		u64(4) === END64_BYTES - 12 &&
		u64(16) === 0 &&
		u64(24) === count &&
		u64(32) === count &&
		u64(40) === directory.bytes &&
		u64(48) === directory.offset &&
		at32(END64_BYTES) === LOCATOR_SIGNATURE &&
		at32(END64_BYTES + 4) === 0 &&
		u64(END64_BYTES + 8) === directoryEnd &&
		at32(END64_BYTES + 16) === 1;
	return isWhole ? [] : damaged("zip64");
}

async function auditRecords(
	zip: ZipSource,
	listed: readonly ListedRecord[],
	faults: ZipFault[],
): Promise<AuditedRecord[]> {
	const { offset: directoryOffset } = await findDirectory(zip);
	const records: AuditedRecord[] = [];
	let cursor = 0;
	for (const record of listed.toSorted((a, b) => a.headerOffset - b.headerOffset)) {
		if (record.headerOffset !== cursor) {
			const range = { start: cursor, end: record.headerOffset };
			faults.push({
				message: `has bytes that belong to no record before ${quote(record.name)}`,
				range,
			});
		}
		const header = await auditHeader(zip, record);
		if ("message" in header) {
			faults.push(header);
			return records;
		}
		const { dataOffset } = header;
		records.push({ ...record, dataOffset });
		const end = dataOffset + record.size;
		const descriptor = await auditDescriptor(zip, record, end);
		if ("message" in descriptor) faults.push(descriptor);
		cursor = "end" in descriptor ? descriptor.end : end;
	}
	if (cursor !== directoryOffset && faults.length === 0) {
		const range = { start: cursor, end: directoryOffset };
		faults.push({ message: "has bytes that belong to no record before its directory", range });
	}
	return records;
}

async function auditHeader(
	zip: ZipSource,
	record: ListedRecord,
): Promise<{ readonly dataOffset: number } | ZipFault> {
	const { name, headerOffset, flags } = record;
	const damaged = (end: number, what: string): ZipFault => ({
		message: `has a damaged header of ${quote(name)} (${what})`,
		range: { start: headerOffset, end },
	});
	const header = await readBytes(zip, headerOffset, LOCAL_BYTES);
	const nameEnd = headerOffset + LOCAL_BYTES + header.readUInt16LE(26);
	const dataOffset = nameEnd + header.readUInt16LE(28);
	if (header.readUInt32LE(0) !== LOCAL_SIGNATURE) {
		return damaged(headerOffset + LOCAL_BYTES, "signature");
	}
	if (dataOffset + record.size > zip.length) return damaged(dataOffset, "lengths");
	const rest = await readBytes(
		zip,
		headerOffset + LOCAL_BYTES,
		dataOffset - headerOffset - LOCAL_BYTES,
	);
	const nameBytes = nameEnd - headerOffset - LOCAL_BYTES;
	if (rest.toString("utf8", 0, nameBytes) !== name) return damaged(dataOffset, "another name");
	if (header.readUInt16LE(6) !== flags || header.readUInt16LE(8) !== 0) {
		return damaged(dataOffset, "flags or method");
	}
	// A stream writer leaves them 0 and puts them behind the data.
	const [crc, ...sizes] = [14, 18, 22].map((field) => header.readUInt32LE(field));
	const wide = (size: number): boolean =>
		size === record.size || size === 0 || size === 0xffff_ffff;
	if ((crc !== 0 && crc !== record.crc32) || !sizes.every(wide)) {
		return damaged(dataOffset, "checksum or sizes");
	}
	if (!isPadding(rest.subarray(nameBytes))) return damaged(dataOffset, "extra fields");
	return { dataOffset };
}

/** Whether extra fields follow one another to the end, and the padding is what torch pads with. */
function isPadding(extra: Buffer): boolean {
	let cursor = 0;
	while (cursor + 4 <= extra.length) {
		const id = extra.readUInt16LE(cursor);
		const end = cursor + 4 + extra.readUInt16LE(cursor + 2);
		if (end > extra.length) return false;
		const content = extra.subarray(cursor + 4, end);
		if (id === PADDING_ID && !content.every((byte) => byte === PADDING_BYTE)) return false;
		cursor = end;
	}
	return cursor === extra.length;
}

async function auditDescriptor(
	zip: ZipSource,
	record: ListedRecord,
	start: number,
): Promise<{ readonly end: number } | ZipFault> {
	if (record.flags % (2 * HAS_DESCRIPTOR) < HAS_DESCRIPTOR) return { end: start };
	const most = Math.min(24, zip.length - start);
	const bytes = await readBytes(zip, start, most);
	const isWhole =
		most >= 16 &&
		bytes.readUInt32LE(0) === DESCRIPTOR_SIGNATURE &&
		bytes.readUInt32LE(4) === record.crc32;
	if (isWhole && bytes.readUInt32LE(8) === record.size && bytes.readUInt32LE(12) === record.size) {
		return { end: start + 16 };
	}
	const is64 =
		isWhole &&
		most === 24 &&
		[8, 16].every((field) => bytes.readBigUInt64LE(field) === BigInt(record.size));
	if (is64) return { end: start + 24 };
	const message = `has a damaged descriptor of ${quote(record.name)} (checksum or sizes)`;
	return { message, range: { start, end: start + most } };
}

async function readBytes(zip: ZipSource, offset: number, length: number): Promise<Buffer> {
	const within = Math.min(length, Math.max(zip.length - offset, 0));
	const bytes = await zip.readAt(offset, within);
	if (bytes.length === length) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	// What lies past the end counts as zeros, which no header consists of.
	return Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]);
}
