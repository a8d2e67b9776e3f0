import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { parseHeaderLength, parseSafetensorsHeader } from "../../src/fetch/safetensors-header.ts";
import { HEADER_CASES, safetensorsFile } from "../support/safetensors-cases.ts";

function parse(bytes: Uint8Array) {
	return parseSafetensorsHeader(bytes, { file: "m.safetensors", fileBytes: bytes.length });
}

function failure(action: () => unknown) {
	try {
		action();
	} catch (error) {
		if (isHfStreamDcpError(error)) return error;
		throw error;
	}
	throw new Error("no error");
}

function byteAt(begin: number): string {
	return `{"dtype":"U8","shape":[1],"data_offsets":[${begin},${begin + 1}]}`;
}

function lengthField(length: bigint): Uint8Array {
	return safetensorsFile("", 0, length);
}

describe("verdicts", () => {
	test.each(HEADER_CASES.filter((row) => row.verdict === "accept"))(
		"accepts: $name",
		({ bytes }) => {
			const { headerBytes, tensors } = parse(bytes);
			expect(headerBytes).toBe(8 + Number(Buffer.from(bytes).readBigUInt64LE()));
			let position = headerBytes;
			for (const tensor of tensors) {
				expect(tensor.begin).toBe(position);
				position = tensor.end;
			}
			expect(position).toBe(bytes.length);
		},
	);

	test.each(HEADER_CASES.filter((row) => ["reject", "stricter"].includes(row.verdict)))(
		"refuses: $name",
		({ bytes }) => {
			const error = failure(() => parse(bytes));
			expect(error.code).toBe("HEADER_INVALID");
			expect(error.message).toMatch(/^m\.safetensors is not a valid safetensors file: /);
			expect(error.hint).toBeDefined();
			expect(error.facts).toMatchObject({ file: "m.safetensors" });
		},
	);

	test.each(HEADER_CASES.filter((row) => row.verdict === "unsupported"))(
		"cannot hold: $name",
		({ name, bytes }) => {
			const error = failure(() => parse(bytes));
			expect(error.code).toBe("DTYPE_UNSUPPORTED");
			const dtype = name.replace("dtype ", "");
			expect(error.message).toContain(`tensor "a" has dtype ${dtype}`);
			expect(error.facts).toEqual({ file: "m.safetensors", tensor: "a", dtype });
		},
	);
});

describe("what a header says", () => {
	test("tensors come in the order of their bytes, counted from the start of the file", () => {
		const json =
			'{"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[3,15]},"__metadata__":{"format":"pt"},' +
			'"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"c":{"dtype":"F8_E4M3","shape":[],"data_offsets":[15,16]}}';
		const base = 8 + json.length;
		const file = "m.safetensors";
		expect(parse(safetensorsFile(json, 16))).toEqual({
			headerBytes: base,
			metadata: new Map([["format", "pt"]]),
			tensors: [
				{ name: "a", dtype: "uint8", shape: [3], file, begin: base, end: base + 3 },
				{ name: "b", dtype: "bfloat16", shape: [2, 3], file, begin: base + 3, end: base + 15 },
				{ name: "c", dtype: "float8_e4m3fn", shape: [], file, begin: base + 15, end: base + 16 },
			],
		});
	});

	test("names are plain text, whatever they mean to JavaScript", () => {
		const json = `{"__proto__":${byteAt(0)},"toString":${byteAt(1)},"\\ud83d\\ude00\\n":${byteAt(2)}}`;
		const names = parse(safetensorsFile(json, 3)).tensors.map(({ name }) => name);
		expect(names).toEqual(["__proto__", "toString", "😀\n"]);
	});

	test("offsets beyond 4 GiB stay exact", () => {
		const bytes = 3 * 2 ** 40 + 1;
		const json = `{"a":{"dtype":"U8","shape":[${bytes}],"data_offsets":[0,${bytes}]}}`;
		const header = safetensorsFile(json);
		const { tensors } = parseSafetensorsHeader(header, {
			file: "m.safetensors",
			fileBytes: header.length + bytes,
		});
		expect(tensors[0]?.end).toBe(header.length + bytes);
	});

	test("the bytes may begin anywhere in their buffer and go beyond the header", () => {
		const file = safetensorsFile('{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}', 2);
		const shifted = new Uint8Array(file.length + 5);
		shifted.set(file, 5);
		expect(parse(shifted.subarray(5))).toEqual(parse(file));
	});
});

describe("messages", () => {
	test.each([
		[
			'{"a":{"dtype":"X","shape":[],"data_offsets":[0,0]}}',
			0,
			'tensor "a": safetensors has no dtype "X" (byte 25)',
		],
		[
			'{"w":{"dtype":"U8","shape":[1,-2],"data_offsets":[0,0]}}',
			0,
			'tensor "w": expected a whole number from 0 to 2^53 − 1, found -2 (byte 38)',
		],
		[
			'{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}',
			1,
			'tensor "w": its dtype and shape need 2 bytes, but it has 1',
		],
		[
			'{"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
			2,
			'tensor "w": it lies at 1:2 of the data, but must begin at 0',
		],
		[
			'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
			3,
			"its tensors have 1 bytes, but the data behind the header has 3",
		],
		['{"w":1,"w":2}', 0, 'tensor "w": expected an object, found "1" (byte 13)'],
		['{"__metadata__":{"k":1}}', 0, '__metadata__: expected a string, found "1" (byte 29)'],
		[
			'{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":1}',
			0,
			'the key "w" is there twice (byte 61)',
		],
		['{"w":', 0, 'tensor "w": expected an object, but the text ends (byte 13)'],
	])("%s", (json, data, message) => {
		const error = failure(() => parse(safetensorsFile(json, data)));
		expect(error.message).toBe(`m.safetensors is not a valid safetensors file: ${message}`);
	});

	test("a Git LFS pointer is named as such", () => {
		const pointer = Buffer.from(
			"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
		);
		expect(failure(() => parse(pointer)).hint).toContain("git lfs pull");
	});
});

test("a hostile length is refused before anything is allocated", () => {
	const context = { file: "m.safetensors", fileBytes: 2 ** 50 };
	expect(parseHeaderLength(lengthField(100_000_000n), context)).toBe(100_000_000);
	expect(failure(() => parseHeaderLength(lengthField(100_000_001n), context)).code).toBe(
		"HEADER_INVALID",
	);
});
