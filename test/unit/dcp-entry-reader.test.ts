import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dtype, DTYPES } from "../../src/core/dtype.ts";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { Entry } from "../../src/core/ports.ts";
import { readEntryData } from "../../src/dcp/entry-reader.ts";
import { ByteWriter } from "../../src/dcp/byte-writer.ts";
import { OP } from "../../src/dcp/pickle-opcodes.ts";
import { PickleWriter } from "../../src/dcp/pickle-writer.ts";
import { locateTensor, parseTensorPickle } from "../../src/dcp/tensor-reader.ts";
import { encodePrefix, encodeSuffix } from "../../src/dcp/torch-save.ts";
import {
	layOutZip,
	writeDescriptor,
	writeDirectory,
	writeLocalHeader,
} from "../../src/dcp/zip-writer.ts";
import { listZip, locateData, type ZipSource } from "../../src/dcp/zip-reader.ts";

const refuses = (message: RegExp): Error =>
	expect.objectContaining({
		code: "CHECKPOINT_CORRUPT",
		message: expect.stringMatching(message) as string,
	}) as Error;

/** A zip in memory that fails the test when it is read out of bounds or in unreasonable amounts. */
function zipOf(bytes: Uint8Array): ZipSource {
	return {
		what: "zip",
		length: bytes.length,
		readAt: (offset, length) => {
			if (offset < 0 || length < 0 || offset + length > bytes.length)
				throw new Error("out of bounds");
			return Promise.resolve(bytes.subarray(offset, offset + length));
		},
	};
}

function zipFile(records: readonly { name: string; data: Uint8Array }[]): Uint8Array {
	const layout = layOutZip(records.map(({ name, data }) => ({ name, size: data.length })));
	const out = new ByteWriter();
	for (const [index, record] of layout.entries()) {
		const data = records[index]?.data ?? new Uint8Array();
		writeLocalHeader(out, record);
		out.bytes(data);
		writeDescriptor(out, record, crc32(data));
	}
	writeDirectory(
		out,
		layout,
		records.map(({ data }) => crc32(data)),
	);
	return out.finish();
}

const dtypes = Object.keys(DTYPES) as Dtype[];

function entryBytes(dtype: Dtype, shape: readonly number[], data: Uint8Array): Buffer {
	return Buffer.concat([encodePrefix(dtype, shape), data, encodeSuffix(dtype, shape, crc32(data))]);
}

const small = entryBytes(
	"bfloat16",
	[2, 3],
	Uint8Array.from({ length: 12 }, (_, at) => at),
);

test("any records written to a zip are found in it", async () => {
	const record = fc.record({
		name: fc.stringMatching(/^[a-z/._]{1,30}$/),
		data: fc.uint8Array({ maxLength: 300 }),
	});
	await fc.assert(
		fc.asyncProperty(fc.array(record, { maxLength: 8 }), async (records) => {
			const zip = zipOf(zipFile(records));
			const listed = await listZip(zip);
			expect(listed.map(({ name }) => name)).toEqual(records.map(({ name }) => name));
			for (const [index, found] of listed.entries()) {
				const start = await locateData(zip, found);
				const data = await zip.readAt(start, found.size);
				expect(start % 64).toBe(0);
				expect(data).toEqual(records[index]?.data);
				expect(found.crc32).toBe(crc32(data));
			}
		}),
	);
});

test.each(dtypes)("an entry of %s is read back, whatever its shape", async (dtype) => {
	const { itemBytes } = DTYPES[dtype];
	await fc.assert(
		fc.asyncProperty(fc.array(fc.nat(4), { maxLength: 4 }), async (shape) => {
			const count = shape.reduce((product, size) => product * size, 1);
			const bytes = entryBytes(dtype, shape, new Uint8Array(count * itemBytes).fill(1));
			const located = await locateTensor(zipOf(bytes));
			expect(located).toMatchObject({ dtype, shape, dataBytes: count * itemBytes });
		}),
		{ numRuns: 20 },
	);
});

describe("a damaged entry is read or refused, never worse", () => {
	test("cut anywhere", async () => {
		for (let length = 0; length < small.length; length++) {
			await expect(locateTensor(zipOf(small.subarray(0, length))), `${length}`).rejects.toThrow(
				refuses(/./),
			);
		}
	});

	test("every bit flipped once", async () => {
		const damaged = Buffer.from(small);
		for (let at = 0; at < small.length; at++) {
			for (let bit = 0; bit < 8; bit++) {
				damaged[at] = (small[at] ?? 0) ^ (1 << bit);
				try {
					await locateTensor(zipOf(damaged));
				} catch (error) {
					if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT", "DTYPE_UNSUPPORTED")) throw error;
				}
			}
			damaged[at] = small[at] ?? 0;
		}
	});

	test.each<[string, (bytes: Buffer) => void, RegExp]>([
		["records", (bytes) => bytes.writeBigUInt64LE(2n ** 60n, bytes.length - 98 + 32), /impossible/],
		[
			"records, within reason",
			(bytes) => bytes.writeUInt32LE(9e8, bytes.length - 98 + 32),
			/cut|damaged/,
		],
		[
			"bytes of directory",
			(bytes) => bytes.writeUInt32LE(4e9, bytes.length - 98 + 40),
			/4000000000/,
		],
		[
			"bytes before the directory",
			(bytes) => bytes.writeUInt32LE(4e9, bytes.length - 98 + 48),
			/damaged/,
		],
	])("that claims to have too many %s", async (_, damage, message) => {
		const damaged = Buffer.from(small);
		damage(damaged);
		await expect(locateTensor(zipOf(damaged))).rejects.toThrow(refuses(message));
	});
});

describe("a zip that is no saved tensor is refused", () => {
	const pickle = new PickleWriter();
	pickle.op(OP.none);
	const none = pickle.finish();
	const text = (value: string): Uint8Array => Buffer.from(value);
	test.each<[string, readonly { name: string; data: Uint8Array }[], RegExp]>([
		["empty", [], /no saved tensor/],
		["without a folder", [{ name: "data.pkl", data: none }], /no saved tensor/],
		["without data.pkl", [{ name: "archive/x", data: none }], /no "data.pkl"/],
		["of another object", [{ name: "archive/data.pkl", data: none }], /is no torch._utils/],
		[
			"big-endian",
			[
				{ name: "archive/data.pkl", data: none },
				{ name: "archive/byteorder", data: text("big") },
			],
			/little-endian/,
		],
		[
			"with a huge pickle",
			[{ name: "archive/data.pkl", data: new Uint8Array(100_000) }],
			/100000 bytes in "archive\/data.pkl"/,
		],
	])("%s", async (_, records, message) => {
		await expect(locateTensor(zipOf(zipFile(records)))).rejects.toThrow(refuses(message));
	});

	test("compressed", async () => {
		const bytes = Buffer.from(zipFile([{ name: "archive/data.pkl", data: none }]));
		bytes.writeUInt16LE(8, bytes.indexOf("PK\u0001\u0002") + 10);
		await expect(listZip(zipOf(bytes))).rejects.toThrow(refuses(/compressed/));
	});
});

/** `data.pkl` of a view into a storage of `storage` elements. */
function viewPickle(
	storage: number,
	offset: number,
	size: readonly number[],
	stride: readonly number[],
): Uint8Array {
	const out = new PickleWriter();
	out.global("torch._utils", "_rebuild_tensor_v2");
	out.op(OP.mark);
	out.op(OP.mark);
	out.string("storage");
	out.global("torch", "ShortStorage");
	out.string("0");
	out.string("cpu");
	out.int(storage);
	out.op(OP.tuple);
	out.op(OP.binpersid);
	out.int(offset);
	out.intTuple(size);
	out.intTuple(stride);
	out.op(OP.newfalse);
	out.op(OP.none);
	out.op(OP.tuple);
	out.op(OP.reduce);
	return out.finish();
}

test.each<[string, Uint8Array]>([
	["past its storage", viewPickle(6, 0, [2, 3], [4, 1])],
	["shifted past its storage", viewPickle(6, 1, [2, 3], [3, 1])],
	["repeating its storage without end", viewPickle(1, 0, [1e9, 1e6], [0, 0])],
	["of negative size", viewPickle(6, 0, [-1], [1])],
	["with too few strides", viewPickle(6, 0, [2, 3], [1])],
])("a tensor %s is refused", (_, bytes) => {
	expect(() => parseTensorPickle(bytes, "t")).toThrow(refuses(/./));
});

describe("from a file", () => {
	let directory: string;
	beforeAll(async () => {
		directory = await mkdtemp(join(tmpdir(), "dcp-entry-"));
		await writeFile(join(directory, "f"), small);
	});
	afterAll(() => rm(directory, { recursive: true }));

	const box = { offset: [0, 0], size: [2, 3] };
	const entry: Entry = {
		fqn: "w",
		dtype: "bfloat16",
		box,
		file: "f",
		offset: 0,
		length: small.length,
	};

	test("a transposed view is put in order", async () => {
		const values = Int16Array.of(0, 1, 2, 3, 4, 5);
		const file = zipFile([
			{ name: "archive/data.pkl", data: viewPickle(6, 0, [2, 3], [1, 2]) },
			{ name: "archive/data/0", data: new Uint8Array(values.buffer) },
		]);
		await writeFile(join(directory, "view"), file);
		const view: Entry = { ...entry, dtype: "int16", file: "view", length: file.length };
		const { data } = await readEntryData(directory, view, { verify: true });
		expect([...new Int16Array(Uint8Array.from(data).buffer)]).toEqual([0, 2, 4, 1, 3, 5]);
	});

	test.each<[string, Partial<Entry>, string]>([
		["of another dtype", { dtype: "float32" }, "CHECKPOINT_CORRUPT"],
		["of another shape", { box: { offset: [0, 0], size: [3, 2] } }, "CHECKPOINT_CORRUPT"],
		["past the end of the file", { length: small.length + 1 }, "CHECKPOINT_CORRUPT"],
		["too short", { length: small.length - 1 }, "CHECKPOINT_CORRUPT"],
		["outside the directory", { file: "../f" }, "CHECKPOINT_CORRUPT"],
		["in a missing file", { file: "g" }, "SOURCE_UNREADABLE"],
	])("an entry %s is refused", async (_, change, code) => {
		await expect(readEntryData(directory, { ...entry, ...change })).rejects.toMatchObject({ code });
	});

	test("a flipped byte of data is found when asked for", async () => {
		const damaged = Buffer.from(small);
		damaged[705] = (damaged[705] ?? 0) ^ 1;
		await writeFile(join(directory, "damaged"), damaged);
		const changed = { ...entry, file: "damaged" };
		await expect(readEntryData(directory, changed)).resolves.toBeDefined();
		await expect(readEntryData(directory, changed, { verify: true })).rejects.toThrow(
			refuses(/checksum/),
		);
	});
});
