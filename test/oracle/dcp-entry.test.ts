import { execFile } from "node:child_process";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import { type Dtype, DTYPES } from "../../src/core/dtype.ts";
import { numel, type Shape } from "../../src/core/shape.ts";
import { openCheckpointWriter } from "../support/checkpoint-writer.ts";
import { locateEntryData } from "../../src/dcp/entry-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "../../src/dcp/torch-save.ts";
import {
	dataOf,
	layOutCheckpoint,
	type TestTensor,
	writeEntry,
} from "../support/dcp-checkpoint.ts";
import { findPython } from "../support/python.ts";

const found = findPython(["torch", "numpy"]);
const skip = "skip" in found ? found.skip : undefined;

const dtypes = Object.keys(DTYPES) as Dtype[];
const shapes: readonly Shape[] = [
	[],
	[0],
	[1],
	[7],
	[2, 3],
	[0, 5],
	[300, 2],
	[2, 1, 3, 2],
	[1, 2, 1, 2, 1],
];

/** One tensor of each dtype, unevenly cut; a 0-dim one; one without elements. */
const checkpoint = layOutCheckpoint([
	...dtypes.map((dtype): TestTensor => ({
		fqn: `by.${dtype}`,
		dtype,
		shape: [7, 3],
		rows: [3, 3, 1],
	})),
	{ fqn: "scalar", dtype: "float32", shape: [], rows: [0] },
	{ fqn: "empty", dtype: "bfloat16", shape: [0, 4], rows: [0] },
]);

/** All kinds of integers, names and files that a metadata file can hold. */
const index: CheckpointIndex = {
	tensors: [
		...checkpoint.index.tensors,
		{
			fqn: "größe.⚙",
			dtype: "bfloat16",
			shape: [2 ** 33, 5],
			entries: [0, 255, 256, 65_536, 2 ** 31, 2 ** 32].map((row) => ({
				fqn: "größe.⚙",
				dtype: "bfloat16",
				box: { offset: [row, 0], size: [1, 5] },
				file: "sub/__0_1.distcp",
				offset: row * 1000,
				length: 2 ** 40 + row,
			})),
		},
	],
	objects: [{ fqn: "step", file: "__0_0.distcp", offset: 128, length: 1261 }],
};

/** Data over 4 GiB, and data under it whose following record begins above. */
const largeSizes = [4_400_000_000, 2 ** 32 - 2];

interface Report {
	readonly torch: string;
	readonly entries: readonly unknown[];
	readonly metadata: readonly unknown[];
	readonly load: readonly unknown[];
	readonly large: readonly unknown[];
}

async function writeEntries(root: string): Promise<unknown[]> {
	const written: unknown[] = [];
	for (const dtype of dtypes) {
		for (const shape of shapes) {
			const length = numel(shape) * DTYPES[dtype].itemBytes;
			const data = Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 7) % 2));
			const file = `${dtype}-${shape.join("x")}.pt`;
			const suffix = encodeSuffix(dtype, shape, crc32(data));
			await writeFile(join(root, file), Buffer.concat([encodePrefix(dtype, shape), data, suffix]));
			written.push({ file, dtype, shape, data: data.toString("hex") });
		}
	}
	return written;
}

async function writeCheckpoint(directory: string): Promise<Record<string, unknown>> {
	const { entries, files } = checkpoint;
	await using writer = await openCheckpointWriter({
		directory,
		planId: "oracle",
		entries,
		files,
		overwrite: false,
	});
	for (const entry of entries.keys()) await writeEntry(writer, entries, entry);
	await writer.commit(checkpoint.index);
	const tensors = checkpoint.index.tensors.map(({ fqn, dtype, shape, entries: chunks }) => {
		const data = Buffer.concat(chunks.map((chunk) => dataOf(chunk))).toString("hex");
		return [fqn, { dtype, shape, data }] as const;
	});
	return Object.fromEntries(tensors);
}

/** A sparse file: only the ends of the data are stored. */
async function writeLarge(root: string, bytes: number): Promise<{ file: string; bytes: number }> {
	const file = `large-${bytes}.pt`;
	const { prefixBytes, dataBytes } = torchSaveFormat.geometry("uint8", [bytes]);
	const handle = await open(join(root, file), "w");
	await handle.write(encodePrefix("uint8", [bytes]), 0, null, 0);
	await handle.write(Uint8Array.of(1), 0, 1, prefixBytes);
	await handle.write(Uint8Array.of(2), 0, 1, prefixBytes + dataBytes - 1);
	await handle.write(encodeSuffix("uint8", [bytes], 0), 0, null, prefixBytes + dataBytes);
	await handle.close();
	return { file, bytes };
}

describe.skipIf(skip !== undefined)(`torch${skip === undefined ? "" : ` (${skip})`}`, () => {
	let root: string;
	let report: Report;

	beforeAll(async () => {
		if ("skip" in found) return;
		root = await mkdtemp(join(tmpdir(), "dcp-oracle-"));
		const large = await Promise.all(largeSizes.map((bytes) => writeLarge(root, bytes)));
		await writeFile(join(root, "index.metadata"), encodeMetadata(index));
		const job = {
			entries: await writeEntries(root),
			index,
			checkpoint: await writeCheckpoint(join(root, "checkpoint")),
			large,
		};
		await writeFile(join(root, "job.json"), JSON.stringify(job));
		const script = join(import.meta.dirname, "dcp-entry.py");
		const { stdout } = await promisify(execFile)(found.python, [script, root]);
		report = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Report;
	});
	afterAll(() => rm(root, { recursive: true, force: true }));

	test("loads an entry of every dtype, and torch.save gives the same bytes", () => {
		expect(report.entries).toEqual([]);
	});

	test("unpickles our metadata to what its own classes build", () => {
		expect(report.metadata).toEqual([]);
	});

	test("loads a checkpoint of every dtype through dcp.load", () => {
		expect(report.load).toEqual([]);
	});

	test("loads entries around and above 4 GiB, as our own reader does", async () => {
		expect(report.large).toEqual([]);
		for (const bytes of largeSizes) {
			const { prefixBytes, suffixBytes } = torchSaveFormat.geometry("uint8", [bytes]);
			const length = prefixBytes + bytes + suffixBytes;
			const box = { offset: [0], size: [bytes] };
			const file = `large-${bytes}.pt`;
			const entry = { fqn: "w", dtype: "uint8", box, file, offset: 0, length } as const;
			expect(await locateEntryData(root, entry)).toMatchObject({
				dataOffset: prefixBytes,
				dataBytes: bytes,
			});
		}
	});
});
