import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Dtype } from "../../src/core/dtype.ts";
import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import { at } from "../../src/core/shape.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { encodeTensorPickle } from "../../src/dcp/tensor-pickle.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "../../src/dcp/torch-save.ts";

const FIXTURES = new URL("../fixtures/dcp/", import.meta.url);

interface GoldenEntry {
	readonly dtype: Dtype;
	readonly shape: readonly number[];
	readonly length: number;
	readonly nbytes: number;
	readonly data_offset: number;
	readonly suffix_len: number;
	readonly data_pkl_hex: string;
	readonly prefix_sha256: string;
	readonly suffix_sha256_for_zero_data_and_zero_serialization_id: string;
}

const golden = JSON.parse(readFileSync(new URL("golden_entries.json", FIXTURES), "utf8")) as {
	readonly torch: string;
	readonly entries: readonly GoldenEntry[];
};

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe(`entries as torch ${golden.torch} saves them`, () => {
	test("there are 168", () => expect(golden.entries).toHaveLength(168));

	test.each(golden.entries)("$dtype $shape", (entry) => {
		const { dtype, shape } = entry;
		expect(torchSaveFormat.geometry(dtype, shape)).toEqual({
			prefixBytes: entry.data_offset,
			dataBytes: entry.nbytes,
			suffixBytes: entry.suffix_len,
		});
		expect(Buffer.from(encodeTensorPickle(dtype, shape)).toString("hex")).toBe(entry.data_pkl_hex);
		expect(sha256(encodePrefix(dtype, shape))).toBe(entry.prefix_sha256);
		const zeros = crc32(new Uint8Array(entry.nbytes));
		expect(sha256(encodeSuffix(dtype, shape, zeros, "0".repeat(40)))).toBe(
			entry.suffix_sha256_for_zero_data_and_zero_serialization_id,
		);
		expect(entry.length).toBe(entry.data_offset + entry.nbytes + entry.suffix_len);
	});
});

interface LargeEntry {
	readonly bytes: number;
	readonly length: number;
	readonly data_offset: number;
	readonly crc32: number;
	readonly prefix_sha256: string;
	readonly suffix_sha256: string;
}

const large = JSON.parse(readFileSync(new URL("golden_entries_zip64.json", FIXTURES), "utf8")) as {
	readonly entries: readonly LargeEntry[];
};

describe("entries of zeros around and above 4 GiB, as torch saves them", () => {
	test.each(large.entries)("$bytes bytes", (entry) => {
		const shape = [entry.bytes];
		const { prefixBytes, dataBytes, suffixBytes } = torchSaveFormat.geometry("uint8", shape);
		expect(prefixBytes).toBe(entry.data_offset);
		expect(prefixBytes + dataBytes + suffixBytes).toBe(entry.length);
		expect(sha256(encodePrefix("uint8", shape))).toBe(entry.prefix_sha256);
		expect(sha256(encodeSuffix("uint8", shape, entry.crc32))).toBe(entry.suffix_sha256);
	});
});

interface GoldenTensor {
	readonly dtype: Dtype;
	readonly chunks: readonly (readonly [offset: readonly number[], size: readonly number[]])[];
}

interface GoldenMetadata {
	readonly state_dict_metadata: { readonly [fqn: string]: "bytes" | GoldenTensor };
	readonly storage_data: readonly [
		fqn: string,
		box: readonly number[] | null,
		index: number | null,
		file: string,
		offset: number,
		length: number,
	][];
}

describe("every tensor entry of checkpoints that torch wrote is reproduced byte for byte", () => {
	test.each([
		{ name: "real_small", entries: 2 },
		{ name: "real_mp8_fsdp_tp_ep", entries: 196 },
	])("$name", ({ name, entries }) => {
		const text = readFileSync(new URL(`${name}.metadata.json`, FIXTURES), "utf8");
		const dump = JSON.parse(text) as GoldenMetadata;
		let compared = 0;
		for (const [fqn, , index, file, offset, length] of dump.storage_data) {
			const tensor = dump.state_dict_metadata[fqn];
			if (tensor === undefined || tensor === "bytes" || index === null) continue;
			const [, shape] = at(tensor.chunks, index);
			const real = readFileSync(new URL(`${name}/${file}`, FIXTURES)).subarray(
				offset,
				offset + length,
			);
			const { prefixBytes, dataBytes } = torchSaveFormat.geometry(tensor.dtype, shape);
			const data = real.subarray(prefixBytes, prefixBytes + dataBytes);
			const ours = Buffer.concat([
				encodePrefix(tensor.dtype, shape),
				data,
				encodeSuffix(tensor.dtype, shape, crc32(data)),
			]);
			expect(ours.equals(real), `${fqn} chunk ${index}`).toBe(true);
			compared++;
		}
		expect(compared).toBe(entries);
	});
});

test("the metadata of one bfloat16 chunk is the known 841 bytes", () => {
	const box = { offset: [0, 0], size: [2, 3] };
	const place = { file: "__0_0.distcp", offset: 0, length: 1577 };
	const index: CheckpointIndex = {
		tensors: [
			{
				fqn: "w",
				dtype: "bfloat16",
				shape: [2, 3],
				entries: [{ fqn: "w", dtype: "bfloat16", box, ...place }],
			},
		],
		objects: [],
	};
	const expected = readFileSync(new URL("minimal_841.metadata", FIXTURES));
	expect(Buffer.from(encodeMetadata(index)).equals(expected)).toBe(true);
});
