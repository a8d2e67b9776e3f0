import { describe, expect, test } from "vitest";
import type { CheckpointTensor } from "../../src/core/checkpoint.ts";
import type { Entry } from "../../src/core/ports.ts";
import { decodeMetadata, findHoles, mergeMetadata } from "../../src/dcp/metadata-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";

const chunk: Entry = {
	fqn: "w",
	dtype: "float32",
	box: { offset: [0, 0], size: [2, 3] },
	file: "__0_0.distcp",
	offset: 0,
	length: 1577,
};

function tensorOf(...entries: readonly Partial<Entry>[]): CheckpointTensor {
	const chunks = entries.map((entry) => ({ ...chunk, ...entry }));
	return { fqn: "w", dtype: "float32", shape: [4, 3], entries: chunks };
}

const decode = (...entries: readonly Partial<Entry>[]): unknown =>
	decodeMetadata(encodeMetadata({ tensors: [tensorOf(...entries)], objects: [] }), "m");

const refuses = (message: RegExp): Error =>
	expect.objectContaining({
		code: "CHECKPOINT_CORRUPT",
		message: expect.stringMatching(message) as string,
	}) as Error;

describe("a path that leaves the directory is refused", () => {
	test.each([
		"../secret",
		"a/../../secret",
		"..",
		"/etc/passwd",
		"\\\\server\\share",
		"C:\\secret",
		"C:secret",
		"a\\..\\b",
		"",
		"a\0b",
	])("%j", (file) => {
		expect(() => decode({ file })).toThrow(refuses(/not inside the checkpoint/));
	});

	test.each(["__0_0.distcp", "sub/dir/x.distcp", "..hidden", "a..b", "ünïcode"])(
		"%j is fine",
		(file) => {
			expect(decode({ file })).toMatchObject({ tensors: [{ entries: [{ file }] }] });
		},
	);
});

describe("a chunk that cannot be is refused", () => {
	test.each<[string, Partial<Entry>, RegExp]>([
		["past the end", { box: { offset: [3, 0], size: [2, 3] } }, /not inside \[4, 3\]/],
		["of other dimensions", { box: { offset: [0], size: [4] } }, /not inside/],
		["of negative offset", { box: { offset: [-1, 0], size: [2, 3] } }, /no valid size/],
		["at a negative place", { offset: -1 }, /no valid size/],
		["of negative length", { length: -1 }, /no valid size/],
		[
			"at an impossible place",
			{ offset: Number.MAX_SAFE_INTEGER, length: Number.MAX_SAFE_INTEGER },
			/no valid range/,
		],
		["of 65 dimensions", { box: { offset: Array(65).fill(0), size: [2, 3] } }, /65 dimensions/],
	])("%s", (_, entry, message) => {
		expect(() => decode(entry)).toThrow(refuses(message));
	});

	test("named twice", () => {
		expect(() => decode({}, {})).toThrow(refuses(/twice|two chunks/));
	});
});

/** A pickle of `Metadata` with these two dicts, written by hand. */
function metadataOf(stateDict: string, storage: string): Uint8Array {
	const key = (text: string): string => `X${String.fromCodePoint(text.length)}\0\0\0${text}`;
	const head = "\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81}(";
	const body = `${key("state_dict_metadata")}${stateDict}${key("storage_data")}${storage}ub.`;
	return Buffer.from(head + body, "latin1");
}

describe("metadata that torch never writes is refused", () => {
	test.each<[string, Uint8Array, RegExp]>([
		["no Metadata", Buffer.from("\x80\x02}.", "latin1"), /no torch.*Metadata/],
		["lists for dicts", metadataOf("]", "]"), /storage_data is no dict/],
		["a number as key", metadataOf("}(K\x01Nu", "}"), /no string/],
		["None as tensor", metadataOf("}(X\x01\0\0\0wNu", "}"), /"w" is no/],
		[
			"an object that is stored nowhere",
			metadataOf(
				"}(X\x01\0\0\0wctorch.distributed.checkpoint.metadata\nBytesStorageMetadata\n)\x81u",
				"}",
			),
			/stored nowhere/,
		],
		["a place without an index", metadataOf("}", "}(K\x01K\x02u"), /no .*MetadataIndex/],
	])("%s", (_, bytes, message) => {
		expect(() => decodeMetadata(bytes, "m")).toThrow(refuses(message));
	});
});

test("100 000 tensors that share a list of 100 000 chunks end quickly", () => {
	const module = "ctorch.distributed.checkpoint.metadata\n";
	const size = "ctorch\nSize\nK\x01\x85\x85R";
	const key = (text: string): string => `X${String.fromCodePoint(text.length)}\0\0\0${text}`;
	const one = `${module}ChunkStorageMetadata\n)\x81}(${key("offsets")}${size}${key("sizes")}${size}ub`;
	const chunks = `](${one}q\x01${"h\x01".repeat(100_000)}e`;
	const properties = `${module}TensorProperties\n)\x81(ctorch\nfloat32\ntb`;
	const tensor = `${module}TensorStorageMetadata\n)\x81}(${key("size")}ctorch\nSize\nK\x02\x85\x85R${key("properties")}${properties}${key("chunks")}${chunks}ub`;
	const names = Array.from({ length: 100_000 }, (_, n) => `${key(`t${n}`)}h\x02`).join("");
	const place = `ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}(${key("relative_path")}${key("f")}${key("offset")}K\x00${key("length")}K\x00ub`;
	const storage = `}(${module}MetadataIndex\n)\x81}(${key("fqn")}${key("w")}${key("offset")}${size}ub${place}u`;
	const bytes = metadataOf(`}(${key("w")}${tensor}q\x02${names}u`, storage);
	expect(() => decodeMetadata(bytes, "m")).toThrow(refuses(/two chunks/));
});

test("100 000 chunks take less than 110 bytes each and are read back", () => {
	const rows = 250;
	const tensors = Array.from({ length: 400 }, (_, layer): CheckpointTensor => {
		const fqn = `layers.${layer}.feed_forward.w1.weight`;
		const entries = Array.from({ length: rows }, (__, rank) => {
			const box = { offset: [rank * 16, 0], size: [16, 5120] };
			return {
				fqn,
				dtype: "bfloat16",
				box,
				file: `__${rank}_0.distcp`,
				offset: layer * 165_417,
				length: 165_417,
			} as const;
		});
		return { fqn, dtype: "bfloat16", shape: [rows * 16, 5120], entries };
	});
	const bytes = encodeMetadata({ tensors, objects: [] });
	expect(bytes.length / (rows * 400)).toBeLessThan(110);
	const decoded = decodeMetadata(bytes, "m");
	expect(decoded.tensors).toHaveLength(400);
	expect(decoded.tensors[399]).toEqual(tensors[399]);
});

describe("metadata per rank is merged", () => {
	const part = (tensor: CheckpointTensor): ReturnType<typeof decodeMetadata> =>
		decodeMetadata(encodeMetadata({ tensors: [tensor], objects: [] }), "m");
	const second = { box: { offset: [2, 0], size: [2, 3] }, file: "__1_0.distcp" };

	test("chunks are joined, replicas counted once", () => {
		const merged = mergeMetadata([
			part(tensorOf({})),
			part(tensorOf({ file: "__1_0.distcp" }, second)),
		]);
		expect(merged.tensors).toEqual([tensorOf({}, second)]);
		expect(merged.plannerPaths).toEqual([{ fqn: "w", path: ["w"] }]);
	});

	test("ranks that disagree are refused", () => {
		const other = { ...tensorOf({}), shape: [5, 3] };
		expect(() => mergeMetadata([part(tensorOf({})), part(other)])).toThrow(refuses(/disagree/));
	});
});

test("tensors with holes are reported", () => {
	expect(findHoles([tensorOf({})])).toEqual([expect.stringContaining("6 of its 12")]);
	expect(findHoles([tensorOf({}, { box: { offset: [2, 0], size: [2, 3] } })])).toEqual([]);
});
