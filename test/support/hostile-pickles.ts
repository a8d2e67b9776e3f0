import { crc32 } from "../../src/checksum/crc32.ts";
import { ByteWriter } from "../../src/dcp/byte-writer.ts";
import {
	layOutZip,
	writeDescriptor,
	writeDirectory,
	writeLocalHeader,
} from "../../src/dcp/zip-writer.ts";
import { at } from "../../src/core/shape.ts";

const PROTO = Buffer.from([0x80, 2]);
const STOP = Buffer.from(".");

function text(value: string): Buffer {
	const bytes = Buffer.from(value);
	const head = Buffer.alloc(5);
	head.write("X");
	head.writeUInt32LE(bytes.length, 1);
	return Buffer.concat([head, bytes]);
}

function shortText(value: string): Buffer {
	return Buffer.concat([Buffer.from([0x8c, value.length]), Buffer.from(value)]);
}

/** Opcodes that leave what `os.mkdir(path)` gives on the stack, in several spellings. */
function payload(path: string, turn: number): Buffer {
	const mkdir = [
		Buffer.from("cos\nmkdir\n"),
		Buffer.from("cposix\nmkdir\n"),
		Buffer.concat([shortText("os"), shortText("mkdir"), Buffer.from([0x93])]),
		// `os.mkdir` by way of the memo, which hides its names from whoever looks at the last two texts alone.
		Buffer.concat([
			shortText("os"),
			Buffer.from("q\x090"),
			shortText("mkdir"),
			Buffer.from("q\x080"),
			Buffer.from("h\x09h\x08"),
			Buffer.from([0x93]),
		]),
	];
	if (turn % 8 === 4) {
		// INST: looked up and called by one opcode.
		return Buffer.concat([Buffer.from("("), text(path), Buffer.from("ios\nmkdir\n")]);
	}
	if (turn % 8 === 5) {
		const code = `__import__("os").mkdir(${JSON.stringify(path)})`;
		return Buffer.concat([Buffer.from("cbuiltins\neval\n("), text(code), Buffer.from("tR")]);
	}
	return Buffer.concat([
		at(mkdir, turn % mkdir.length),
		Buffer.from("("),
		text(path),
		Buffer.from("tR"),
	]);
}

/** `.metadata` that makes the folder `path` before, or after, it is what it was. */
export function hostileMetadata(metadata: Buffer, path: string, turn: number): Buffer {
	const call = Buffer.concat([payload(path, turn), Buffer.from("0")]);
	if (turn % 2 === 0) return Buffer.concat([PROTO, call, metadata.subarray(2)]);
	return Buffer.concat([metadata.subarray(0, -1), call, STOP]);
}

interface Content {
	readonly name: string;
	readonly bytes: Uint8Array;
}

function zipOf(contents: readonly Content[]): Buffer {
	const records = layOutZip(contents.map(({ name, bytes }) => ({ name, size: bytes.length })));
	const crcs = contents.map(({ bytes }) => crc32(bytes));
	const out = new ByteWriter();
	for (const [index, record] of records.entries()) {
		writeLocalHeader(out, record);
		out.bytes(at(contents, index).bytes);
		writeDescriptor(out, record, at(crcs, index));
	}
	writeDirectory(out, records, crcs);
	return Buffer.from(out.finish());
}

/** A saved object whose pickle makes the folder `path`, with the records of a saved tensor. */
export function hostileEntry(dataBytes: number, path: string, turn: number): Buffer {
	return zipOf([
		{ name: "archive/data.pkl", bytes: Buffer.concat([PROTO, payload(path, turn), STOP]) },
		{ name: "archive/.format_version", bytes: Buffer.from("1") },
		{ name: "archive/.storage_alignment", bytes: Buffer.from("64") },
		{ name: "archive/byteorder", bytes: Buffer.from("little") },
		{ name: "archive/data/0", bytes: Buffer.alloc(dataBytes) },
		{ name: "archive/version", bytes: Buffer.from("3\n") },
		{ name: "archive/.data/serialization_id", bytes: Buffer.from("1".repeat(40)) },
	]);
}

/** The same tensor in a zip that has a second record of its data, of zeros. */
export function withRecordTwice(entry: Buffer): Buffer {
	const names = [
		"data.pkl",
		".format_version",
		".storage_alignment",
		"byteorder",
		"data/0",
		"version",
		".data/serialization_id",
	].map((name) => `archive/${name}`);
	let from = 0;
	const contents = names.map((name) => {
		// Local headers name the records in order; sizes are in the central directory.
		const start = entry.indexOf(name, from) - 30;
		const data = start + 30 + name.length + entry.readUInt16LE(start + 28);
		const size = entry.readUInt32LE(entry.lastIndexOf(name) - 46 + 24);
		from = data + size;
		return { name, bytes: entry.subarray(data, data + size) };
	});
	const data = at(contents, 4);
	const twice = { name: data.name, bytes: Buffer.alloc(data.bytes.length) };
	return zipOf([...contents.slice(0, 5), twice, ...contents.slice(5)]);
}
