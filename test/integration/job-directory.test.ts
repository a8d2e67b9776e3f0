import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { STATE_NAME } from "../../src/core/checkpoint.ts";
import { at } from "../../src/core/shape.ts";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import {
	type CheckpointWriter,
	type CheckpointWriterOptions,
	openCheckpointWriter,
	openTestShare,
	type TestShare,
} from "../support/checkpoint-writer.ts";
import { createEntryWriter } from "../../src/dcp/entry-writer.ts";
import { readEntryData } from "../../src/dcp/entry-reader.ts";
import { joinJob } from "../../src/job/job.ts";
import { MANIFEST_NAME } from "../../src/manifest/manifest.ts";
import { dataOf, layOutCheckpoint, writeEntry } from "../support/dcp-checkpoint.ts";

const checkpoint = layOutCheckpoint([
	{ fqn: "embed", dtype: "bfloat16", shape: [300, 64], rows: [100, 100, 100] },
	{ fqn: "scale", dtype: "float32", shape: [], rows: [0] },
	{ fqn: "empty", dtype: "float16", shape: [0, 4], rows: [0] },
	{ fqn: "mask", dtype: "bool", shape: [7], rows: [3, 3, 1] },
]);
const { entries, files, index } = checkpoint;

let root: string;
let directory: string;
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), "job-directory-"));
	directory = join(root, "step-0");
});
afterEach(() => rm(root, { recursive: true }));

function open(options: Partial<CheckpointWriterOptions> = {}): Promise<CheckpointWriter> {
	return openCheckpointWriter({
		directory,
		planId: "plan",
		entries,
		files,
		overwrite: false,
		...options,
	});
}

async function writeAll(options: Partial<CheckpointWriterOptions> = {}): Promise<void> {
	await using writer = await open(options);
	for (const entry of entries.keys()) {
		if (!writer.isFinished(entry)) await writeEntry(writer, entries, entry);
	}
	await writer.commit(index);
}

/** @returns Where its files are. */
async function writeSome(count: number): Promise<string> {
	await using writer = await open();
	for (let entry = 0; entry < count; entry++) await writeEntry(writer, entries, entry);
	return writer.attempt;
}

async function contents(): Promise<Record<string, string>> {
	// The summary says when, and is the only file that differs between two runs.
	const names = (await readdir(directory)).filter((name) => name !== "summary.json").toSorted();
	const texts = names.map(async (name) => {
		return [name, (await readFile(join(directory, name))).toString("hex")] as const;
	});
	return Object.fromEntries(await Promise.all(texts));
}

describe("a finished checkpoint", () => {
	test("holds .metadata, data files and a summary alone, and reads back", async () => {
		await writeAll();
		const names = (await readdir(directory)).toSorted();
		const dataNames = files.map(({ name }) => name).toSorted();
		expect(names).toEqual([".metadata", ...dataNames, "summary.json"]);
		const read = await readCheckpoint(directory);
		expect(read.tensors).toEqual(index.tensors);
		expect(read.problems).toEqual([]);
		for (const entry of entries) {
			const { data } = await readEntryData(directory, entry, { verify: true });
			expect(Buffer.from(data).equals(dataOf(entry)), entry.fqn).toBe(true);
		}
	});

	test("does not depend on order, piece sizes, open files or flushes", async () => {
		await writeAll();
		const expected = await contents();
		await rm(directory, { recursive: true });
		await using writer = await open({ maxOpenFiles: 1 });
		const work = [...entries.keys()].toReversed().map(async (entry) => {
			await writeEntry(writer, entries, entry, 1000 + entry);
			await writer.flush();
		});
		await Promise.all(work);
		await writer.commit(index);
		expect(await contents()).toEqual(expected);
	});

	test("is not touched without overwrite", async () => {
		await writeAll();
		const before = await contents();
		await expect(open({ model: "another" })).rejects.toMatchObject({
			code: "OUTPUT_EXISTS",
			message: expect.stringMatching(/model: plan, now another/) as string,
			hint: expect.stringContaining("--overwrite") as string,
		});
		expect(await contents()).toEqual(before);
	});

	test("is found by the command that made it, which leaves it as it is", async () => {
		await writeAll();
		const before = await contents();
		const joined = await joinJob({
			directory,
			worker: { index: 0, count: 1 },
			command: { model: "plan" },
			overwrite: false,
			takeover: true,
			leaseMs: 60_000,
			tool: "0.0.0",
		});
		expect(joined).toMatchObject({ finished: { planId: "plan", shares: 1 } });
		expect(await contents()).toEqual(before);
	});

	test("written per rank, without .metadata, counts as finished too", async () => {
		await mkdir(directory);
		await writeFile(join(directory, "__3.metadata"), "");
		await expect(open()).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
	});

	test("with overwrite is replaced, its surplus data files removed, other files kept", async () => {
		await writeAll();
		await writeFile(join(directory, "__7_0.distcp"), "stale");
		await writeFile(join(directory, "notes.txt"), "mine");
		await writeFile(join(directory, MANIFEST_NAME), "of another conversion");
		await writeAll({ overwrite: true });
		const names = (await readdir(directory)).toSorted();
		const data = files.map(({ name }) => name).toSorted();
		expect(names).toEqual([".metadata", ...data, "notes.txt", "summary.json"]);
		expect((await readCheckpoint(directory)).problems).toEqual([]);
	});

	test("with overwrite stops being a checkpoint at once", async () => {
		await writeAll();
		await using writer = await open({ overwrite: true });
		expect(writer.resumedEntries).toBe(0);
		await expect(readCheckpoint(directory)).rejects.toMatchObject({
			code: "SOURCE_UNREADABLE",
			message: expect.stringContaining("unfinished") as string,
		});
	});
});

describe("an unfinished checkpoint", () => {
	test("is continued by the same plan", async () => {
		await writeSome(3);
		await using writer = await open();
		expect(writer.resumedEntries).toBe(3);
		expect([...entries.keys()].filter((entry) => writer.isFinished(entry))).toEqual([0, 1, 2]);
		for (let entry = 3; entry < entries.length; entry++) await writeEntry(writer, entries, entry);
		await writer.commit(index);
		const resumed = await contents();
		await rm(directory, { recursive: true });
		await writeAll();
		expect(resumed).toEqual(await contents());
	});

	test("is continued with overwrite too", async () => {
		await writeSome(2);
		await using writer = await open({ overwrite: true });
		expect(writer.resumedEntries).toBe(2);
	});

	test("of another plan is refused, and begun anew with overwrite", async () => {
		await writeSome(2);
		await expect(open({ planId: "other" })).rejects.toMatchObject({
			code: "PLAN_CHANGED",
			message: expect.stringMatching(/model: plan, now other/) as string,
			hint: expect.stringContaining("--overwrite") as string,
		});
		{
			await using same = await open();
			expect(same.resumedEntries).toBe(2);
		}
		await using writer = await open({ planId: "other", overwrite: true });
		expect(writer.resumedEntries).toBe(0);
	});

	test("of another plan for the same command is refused", async () => {
		await writeSome(2);
		await expect(open({ planId: "changed", model: "plan" })).rejects.toMatchObject({
			code: "PLAN_CHANGED",
			message: expect.stringContaining("although the command is the same") as string,
		});
	});

	test("forgets the entries of a file that was deleted or cut", async () => {
		const attempt = await writeSome(3);
		await rm(join(attempt, entries[1]?.file ?? ""));
		await writeFile(join(attempt, entries[2]?.file ?? ""), "cut");
		{
			await using writer = await open();
			expect([...entries.keys()].filter((entry) => writer.isFinished(entry))).toEqual([0]);
		}
		// The deletion is remembered although the file may be back by now.
		await using again = await open();
		expect(again.resumedEntries).toBe(1);
	});

	test("with an unreadable journal begins anew", async () => {
		const attempt = await writeSome(1);
		await writeFile(join(attempt, "..", "journal.1"), "nonsense");
		await using writer = await open();
		expect(writer.resumedEntries).toBe(0);
	});

	test("with an unreadable record is refused", async () => {
		await writeSome(1);
		await writeFile(join(directory, STATE_NAME, "job.1", "record"), "nonsense");
		await expect(open()).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
	});

	test("is not a checkpoint for a reader", async () => {
		await writeSome(entries.length);
		await expect(readCheckpoint(directory)).rejects.toMatchObject({ code: "SOURCE_UNREADABLE" });
	});
});

describe("a directory", () => {
	test("with foreign data files is refused, with other files is used", async () => {
		await mkdir(directory);
		await writeFile(join(directory, "README.md"), "hello");
		await writeAll();
		await rm(join(directory, ".metadata"));
		await expect(open()).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
		expect(await readFile(join(directory, "README.md"), "utf8")).toBe("hello");
	});

	test("is free again after a writer was disposed of", async () => {
		await (await open())[Symbol.asyncDispose]();
		await (await open())[Symbol.asyncDispose]();
		expect(await readdir(directory)).toEqual([STATE_NAME]);
	});
});

describe("a bug of the caller is caught", () => {
	test.each<[string, (writer: CheckpointWriter) => Promise<unknown>]>([
		["a commit before all is finished", (writer) => writer.commit(index)],
		["an entry finished without its data", (writer) => writer.finish(0, 0)],
		["a checksum of no data", (writer) => writer.finish(4, 1)],
		["data past the end", (writer) => writer.write(0, 0, new Uint8Array(1e6))],
		[
			"data that changed between write and finish",
			async (writer) => {
				await writer.write(5, 0, dataOf(at(entries, 5)));
				await writer.finish(5, 0xdead_beef);
			},
		],
	])("%s", async (_, act) => {
		await using writer = await open();
		await expect(act(writer)).rejects.toThrow("internal error");
	});
});

test("a file has its final size from the first write on", async () => {
	await using writer = await open();
	await writeEntry(writer, entries, 0);
	const { name, bytes } = files[0] ?? { name: "", bytes: 0 };
	expect((await stat(join(writer.attempt, name))).size).toBe(bytes);
});

describe("two writers of one directory, as two threads have", () => {
	/** Writes the entries with these indices through a writer of its own, flushing after each. */
	async function writeThese(owner: TestShare, own: readonly number[]): Promise<void> {
		await using writer = createEntryWriter({
			directory: owner.directory,
			entries,
			files,
			writeMode: owner.writeMode,
			isFinished: (entry) => owner.resumed.has(entry),
			record: (finished) => owner.record(finished),
		});
		for (const entry of own) {
			if (writer.isFinished(entry)) continue;
			await writeEntry(writer, entries, entry, 1000);
			await writer.flush();
		}
	}
	const options = { planId: "plan", entries, files, overwrite: false };
	const [even, odd] = [0, 1].map((rest) =>
		[...entries.keys()].filter((entry) => entry % 2 === rest),
	) as [number[], number[]];

	test("fill the same files at the same time", async () => {
		await using owner = await openTestShare({ directory, ...options });
		await Promise.all([writeThese(owner, even), writeThese(owner, odd)]);
		await owner.commit(index);
		expect((await readCheckpoint(directory)).problems).toEqual([]);
		for (const entry of entries) {
			const { data } = await readEntryData(directory, entry, { verify: true });
			expect(new Uint8Array(data)).toEqual(dataOf(entry));
		}
	});

	test("take over what one of them left, and leave it as it is", async () => {
		{
			await using owner = await openTestShare({ directory, ...options });
			await writeThese(owner, even);
			await expect(owner.commit(index)).rejects.toThrow("entries finished");
		}
		await using owner = await openTestShare({ directory, ...options });
		expect(owner.resumed).toEqual(new Set(even));
		await Promise.all([writeThese(owner, even.slice(0, 1)), writeThese(owner, odd)]);
		await owner.commit(index);
		for (const entry of entries) {
			const { data } = await readEntryData(directory, entry, { verify: true });
			expect(new Uint8Array(data)).toEqual(dataOf(entry));
		}
	});

	test("a file that disappeared meanwhile is no part of a checkpoint", async () => {
		await using owner = await openTestShare({ directory, ...options });
		await Promise.all([writeThese(owner, even), writeThese(owner, odd)]);
		const { name } = at(files, 0);
		await rm(join(owner.directory, name));
		await expect(owner.commit(index)).rejects.toMatchObject({ code: "OUTPUT_WRITE" });
		await writeFile(join(directory, name), "short");
		await expect(owner.commit(index)).rejects.toMatchObject({
			code: "OUTPUT_WRITE",
			message: expect.stringContaining("has 5 bytes instead of") as string,
		});
		expect(await readdir(directory)).not.toContain(".metadata");
	});
});
