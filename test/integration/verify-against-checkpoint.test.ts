import { cp, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type { Entry } from "../../src/core/ports.ts";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { locateEntryData } from "../../src/dcp/entry-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { convert, parseConvertOptions, verifyAgainstCheckpoint } from "../../src/index.ts";
import { failure } from "../support/failure.ts";
import { writeFiles } from "../support/open-source-model.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/dcp");
const MiB = 2 ** 20;

let root = "";
let model = "";

beforeAll(async () => {
	root = await mkdtemp(join(tmpdir(), "hf-stream-dcp-against-"));
	model = join(root, "model");
	await writeFiles(model, createDemoModel().files);
	await converted("whole", {});
	await converted("mesh", { parallelism: { dpShard: 4, tp: 2, ep: 4 } });
	await converted("uneven", { parallelism: { dpShard: 3 }, memoryBytes: "16MiB" });
});

afterAll(() => rm(root, { recursive: true }));

const at = (name: string): string => join(root, name);

async function converted(name: string, options: object): Promise<void> {
	await convert(parseConvertOptions({ repo: model, out: at(name), threads: 1, ...options }));
}

/** A copy of a checkpoint, changed. */
async function changed(
	from: string,
	change: (directory: string, index: CheckpointIndex) => Promise<unknown>,
): Promise<string> {
	const directory = await mkdtemp(join(root, "changed-"));
	await cp(from, directory, { recursive: true });
	await change(directory, await readCheckpointIndex(directory));
	return directory;
}

/** Adds 1 to the bits of element `element` of an entry, of two bytes. */
async function nudge(directory: string, entry: Entry, element: number): Promise<number> {
	const { dataOffset } = await locateEntryData(directory, entry);
	const place = dataOffset + 2 * element;
	await using file = await open(join(directory, entry.file), "r+");
	const bits = Buffer.alloc(2);
	await file.read(bits, 0, 2, place);
	bits.writeUInt16LE(bits.readUInt16LE() + 1);
	await file.write(bits, 0, 2, place);
	return place;
}

function entriesOf({ tensors }: CheckpointIndex, fqn: string): readonly Entry[] {
	return tensors.find((tensor) => tensor.fqn === fqn)!.entries;
}

const WEIGHT = "layers.0.attention.wo.weight";

describe("checkpoints of one model", () => {
	test.each([
		["whole", "mesh"],
		["mesh", "whole"],
		["mesh", "uneven"],
		["uneven", "mesh"],
	])("%s holds what %s holds", async (one, other) => {
		const report = await verifyAgainstCheckpoint({ directory: at(one), other: at(other) });
		expect(report).toMatchObject({
			problems: [],
			problemCount: 0,
			differentElements: 0,
			notes: [],
		});
		const { tensors } = await readCheckpointIndex(at(one));
		expect(report.tensors).toEqual(tensors.map(({ fqn }) => ({ fqn, outcome: "equal" })));
		const dataBytes = tensors
			.map(({ shape, dtype }) => shape.reduce((a, b) => a * b, itemBytes(dtype)))
			.reduce((a, b) => a + b, 0);
		expect(report.comparedBytes).toBe(dataBytes);
		expect(report.fetchedBytes).toBe(dataBytes);
	});

	test("little memory is enough, and kept", async () => {
		const memoryBytes = 16 * MiB;
		const start = process.memoryUsage().arrayBuffers;
		const most = { bytes: 0 };
		const report = await verifyAgainstCheckpoint({
			directory: at("mesh"),
			other: at("whole"),
			memoryBytes,
			onEvent: () => {
				most.bytes = Math.max(most.bytes, process.memoryUsage().arrayBuffers - start);
			},
		});
		expect(report.problems).toEqual([]);
		expect(report.comparedBytes).toBeGreaterThan(memoryBytes);
		expect(report.peakStagingBytes).toBeLessThan(memoryBytes / 2);
		// Staging, write buffers, and what of the checkpoint is compared; not the checkpoint.
		expect(most.bytes).toBeLessThanOrEqual(memoryBytes / 2 + 5 * MiB);
	});

	test("one element that is another one is named, with its place and both values", async () => {
		let place = 0;
		let file = "";
		const directory = await changed(at("mesh"), async (copy, index) => {
			const entry = entriesOf(index, WEIGHT).find(
				({ box }) => box.offset.every((start) => start > 0) || box.offset[0]! > 0,
			)!;
			file = entry.file;
			place = await nudge(copy, entry, entry.box.size[1]! + 3);
		});
		const entry = entriesOf(await readCheckpointIndex(directory), WEIGHT).find(
			(one) => one.file === file,
		)!;
		const index = [entry.box.offset[0]! + 1, entry.box.offset[1]! + 3];
		for (const other of ["whole", "uneven"]) {
			const report = await verifyAgainstCheckpoint({ directory, other: at(other) });
			const different = report.tensors.filter(({ outcome }) => outcome !== "equal");
			expect(different).toMatchObject([
				{
					fqn: WEIGHT,
					outcome: "different",
					difference: { elements: 1, blocks: 1, first: { index, file, offset: place } },
				},
			]);
			const { first, largest } = different[0]!.difference!;
			expect(Number(first.found.bits)).toBe(Number(first.expected.bits) + 1);
			expect(largest).toBe(Math.abs(Number(first.found.value) - Number(first.expected.value)));
			expect(report.problems).toMatchObject([
				{ kind: "difference", fqn: WEIGHT, file, range: { start: place, end: place + 2 } },
			]);
		}
		// The other way round the place is that of the other one.
		const back = await verifyAgainstCheckpoint({ directory: at("whole"), other: directory });
		expect(back.problems).toHaveLength(1);
		const { difference } = back.tensors.find(({ fqn }) => fqn === WEIGHT)!;
		expect(difference?.first.index).toEqual(index);
	});

	test("all elements that differ are counted, and the first is the first of them", async () => {
		const directory = await changed(at("mesh"), async (copy, index) => {
			for (const entry of entriesOf(index, WEIGHT).toReversed()) {
				for (const element of [9, 700, 5]) await nudge(copy, entry, element);
			}
		});
		const { tensors, differentElements } = await verifyAgainstCheckpoint({
			directory,
			other: at("whole"),
		});
		const blocks = entriesOf(await readCheckpointIndex(directory), WEIGHT).length;
		expect(blocks).toBe(8);
		expect(differentElements).toBe(3 * blocks);
		const { difference } = tensors.find(({ outcome }) => outcome === "different")!;
		expect(difference).toMatchObject({ elements: 3 * blocks, blocks, first: { index: [0, 5] } });
	});

	test("tensors that one of them lacks are told of both ways, unless they may be missing", async () => {
		const directory = await changed(at("mesh"), async (copy, { tensors, objects }) => {
			const rest = tensors
				.filter(({ fqn }) => fqn !== "norm.weight")
				.map((tensor) => {
					if (tensor.fqn !== "lm_head.weight") return tensor;
					const entries = tensor.entries.map((entry) => ({ ...entry, fqn: "other.weight" }));
					return { ...tensor, fqn: "other.weight", entries };
				});
			await writeFile(join(copy, ".metadata"), encodeMetadata({ tensors: rest, objects }));
		});
		const report = await verifyAgainstCheckpoint({ directory, other: at("whole") });
		expect(report.problems.map(({ kind, fqn, message }) => [kind, fqn, message])).toEqual([
			["difference", "other.weight", `${at("whole")} lacks "other.weight", which ${directory} has`],
			...["norm.weight", "lm_head.weight"].map((fqn) => [
				"difference",
				fqn,
				`${directory} lacks "${fqn}", which ${at("whole")} has`,
			]),
		]);
		const lenient = { directory, other: at("whole"), ignoreMissing: true };
		const { problems, tensors } = await verifyAgainstCheckpoint(lenient);
		expect(problems).toEqual([]);
		expect(tensors.filter(({ outcome }) => outcome !== "equal")).toHaveLength(3);
	});

	test("another dtype is told of, and a pattern leaves out what is not meant", async () => {
		await converted("float", { dtype: "float32", parallelism: { dpShard: 2 } });
		const report = await verifyAgainstCheckpoint({
			directory: at("float"),
			other: at("whole"),
			tensors: "layers.?.attention.w*",
		});
		expect(report.tensors.length).toBe(4);
		expect(report.problems.map(({ message }) => message)).toContain(
			`"${WEIGHT}" is float32 instead of bfloat16`,
		);
		expect(report.problemCount).toBe(4);
		expect(report.comparedBytes).toBe(0);
	});
});

describe("checkpoints that torch wrote", () => {
	test.each(["real_small", "real_mp8_fsdp_tp_ep"])("%s holds what it holds", async (name) => {
		const directory = join(FIXTURES, name);
		const report = await verifyAgainstCheckpoint({ directory, other: directory });
		expect(report).toMatchObject({ problems: [], notes: [] });
		expect(report.tensors.length).toBeGreaterThan(0);
	});

	test("objects that are not pickled alike are noted", async () => {
		let object = "";
		const directory = await changed(join(FIXTURES, "real_small"), async (copy, { objects }) => {
			const [first] = objects;
			object = first!.fqn;
			const bytes = await readFile(join(copy, first!.file));
			bytes[first!.offset + first!.length - 2]! ^= 1;
			await writeFile(join(copy, first!.file), bytes);
		});
		const report = await verifyAgainstCheckpoint({
			directory,
			other: join(FIXTURES, "real_small"),
		});
		expect(report.problems).toEqual([]);
		expect(report.notes).toEqual([`the object "${object}" is not pickled to the same bytes`]);
	});

	test("a checkpoint with a damaged container is refused", async () => {
		const directory = await changed(join(FIXTURES, "real_small"), async (copy, { tensors }) => {
			const entry = tensors[0]!.entries[0]!;
			const bytes = await readFile(join(copy, entry.file));
			bytes[entry.offset + entry.length - 22]! ^= 1;
			await writeFile(join(copy, entry.file), bytes);
		});
		const other = join(FIXTURES, "real_small");
		for (const pair of [
			{ directory, other },
			{ directory: other, other: directory },
		]) {
			expect((await failure(verifyAgainstCheckpoint(pair))).code).toBe("CHECKPOINT_CORRUPT");
		}
	});
});
