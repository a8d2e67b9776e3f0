import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { CheckpointTensor } from "../../src/core/checkpoint.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { numel } from "../../src/core/shape.ts";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { locateEntryData, readEntryData } from "../../src/dcp/entry-reader.ts";
import { decodeMetadata } from "../../src/dcp/metadata-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));

/** A checkpoint's metadata as Python's own unpickler showed it. */
interface Dump {
	readonly state_dict_metadata: { readonly [fqn: string]: unknown };
	readonly planner_data: { readonly [fqn: string]: readonly (string | number)[] };
	readonly storage_data: readonly (readonly unknown[])[];
}

const describeTensor = ({ dtype, shape, entries }: CheckpointTensor): unknown => ({
	dtype,
	requires_grad: false,
	size: shape,
	chunks: entries.map(({ box }) => [box.offset, box.size]),
});

const sorted = (rows: readonly unknown[]): string[] =>
	rows.map((row) => JSON.stringify(row)).toSorted();

describe.each(["real_small", "real_mp8_fsdp_tp_ep"])("%s, written by torch 2.13", (name) => {
	const directory = `${FIXTURES}dcp/${name}`;
	const dump = JSON.parse(readFileSync(`${directory}.metadata.json`, "utf8")) as Dump;

	test("reads back equal to its dump", async () => {
		const { tensors, objects, plannerPaths } = await readCheckpoint(directory);
		const described = [
			...tensors.map((tensor) => [tensor.fqn, describeTensor(tensor)] as const),
			...objects.map(({ fqn }) => [fqn, "bytes"] as const),
		];
		expect(Object.fromEntries(described)).toEqual(dump.state_dict_metadata);
		const paths = plannerPaths.map(({ fqn, path }) => [fqn, path] as const);
		expect(Object.fromEntries(paths)).toEqual(dump.planner_data);
		const places = [
			...tensors.flatMap(({ entries }) =>
				entries.map(({ fqn, box, file, offset, length }, position) => {
					return [fqn, box.offset, position, file, offset, length];
				}),
			),
			...objects.map(({ fqn, file, offset, length }) => [fqn, null, null, file, offset, length]),
		];
		expect(sorted(places)).toEqual(sorted(dump.storage_data));
	});

	test("every entry is found, whole and with its checksum", async () => {
		const { tensors, files, problems } = await readCheckpoint(directory);
		expect(problems).toEqual([]);
		expect(files.map((file) => file.name).toSorted()).toEqual(
			readdirSync(directory)
				.filter((file) => file.endsWith(".distcp"))
				.toSorted(),
		);
		for (const { fqn, dtype, entries } of tensors) {
			for (const entry of entries) {
				const read = await readEntryData(directory, entry, { verify: true });
				expect(read, fqn).toMatchObject({ dtype, shape: entry.box.size });
				const located = await locateEntryData(directory, entry);
				expect(located.dataBytes, fqn).toBe(read.data.length);
				expect(read.data.length, fqn).toBe(numel(entry.box.size) * itemBytes(dtype));
			}
		}
	});
});

test("the numbers of a tensor that torch wrote", async () => {
	const directory = `${FIXTURES}dcp/real_small`;
	const { tensors } = await readCheckpoint(directory);
	const entry = tensors.find(({ fqn }) => fqn === "w")?.entries[0];
	if (entry === undefined) throw new Error("the fixture has no w");
	const { data } = await readEntryData(directory, entry, { verify: true });
	// bfloat16 is the upper half of a float32: 0, 1, 2, 3, 4, 5.
	expect(Buffer.from(data).toString("hex")).toBe("0000803f004040408040a040");
});

describe("metadata that torchtitan wrote", () => {
	const directory = `${FIXTURES}torchtitan-metadata`;
	test.each([
		{ name: "deepseek_v3_debugmodel_hsdp2x2_ep2_ws4", files: 4 },
		{ name: "llama3_debugmodel_converted_single", files: 1 },
		{ name: "llama3_debugmodel_pp2_tp2_ws4", files: 4 },
	])("$name", ({ name, files }) => {
		const bytes = readFileSync(`${directory}/${name}.metadata`);
		const decoded = decodeMetadata(bytes, name);
		const entries = decoded.tensors.flatMap((tensor) => tensor.entries);
		expect(new Set(entries.map(({ file }) => file)).size).toBe(files);
		for (const { fqn, shape, entries: chunks } of decoded.tensors) {
			const covered = chunks.reduce((sum, { box }) => sum + numel(box.size), 0);
			expect(covered, fqn).toBe(numel(shape));
		}
		// What we write in its place says the same.
		const { tensors, objects } = decoded;
		expect(decodeMetadata(encodeMetadata(decoded), name)).toMatchObject({ tensors, objects });
	});
});

test("the known 841 bytes are one bfloat16 chunk", () => {
	const bytes = readFileSync(`${FIXTURES}dcp/minimal_841.metadata`);
	const box = { offset: [0, 0], size: [2, 3] };
	const place = { file: "__0_0.distcp", offset: 0, length: 1577 };
	expect(decodeMetadata(bytes, "minimal")).toEqual({
		tensors: [
			{
				fqn: "w",
				dtype: "bfloat16",
				shape: [2, 3],
				entries: [{ fqn: "w", dtype: "bfloat16", box, ...place }],
			},
		],
		objects: [],
		plannerPaths: [{ fqn: "w", path: ["w"] }],
	});
});
