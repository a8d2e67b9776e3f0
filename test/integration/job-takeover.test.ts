import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ProgressEvent } from "../../src/core/events.ts";
import { crc32 } from "../../src/checksum/crc32.ts";
import { at } from "../../src/core/shape.ts";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { type EntryWriter, createEntryWriter } from "../../src/dcp/entry-writer.ts";
import { readEntryData } from "../../src/dcp/entry-reader.ts";
import { commitJob } from "../../src/job/commit.ts";
import { type HeldShare, openShare } from "../../src/job/held-share.ts";
import { joinJob } from "../../src/job/job.ts";
import { prepareJob, type PreparedJob } from "../../src/job/prepare.ts";
import { type ShareTurn, shareTurns } from "../../src/job/share-turns.ts";
import { dataOf, layOutCheckpoint, writeEntry } from "../support/dcp-checkpoint.ts";
import { checkpointFiles } from "../support/job-state.ts";

const { entries, files, index } = layOutCheckpoint([
	{ fqn: "embed", dtype: "bfloat16", shape: [300, 64], rows: [100, 100, 100] },
	{ fqn: "head", dtype: "float32", shape: [90, 33], rows: [30, 30, 30] },
	{ fqn: "mask", dtype: "bool", shape: [7], rows: [3, 3, 1] },
]);
const shares = [{ entries: entries.length, files }];
const LEASE_MS = 300;

let root: string;
let directory: string;
let events: ProgressEvent[];
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), "job-takeover-"));
	directory = join(root, "step-0");
	events = [];
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** One worker of a job, as far as a share. */
interface Worker {
	readonly job: PreparedJob;
	readonly turn: ShareTurn;
	readonly held: HeldShare;
	readonly writer: EntryWriter;
	write(...which: readonly number[]): Promise<void>;
	/** Closes what it has open, and releases its claim. */
	end(): Promise<void>;
}

async function joinAs(number: number, count = 2): Promise<PreparedJob> {
	const joined = await joinJob({
		directory,
		worker: { index: number, count },
		command: { model: "test" },
		overwrite: false,
		takeover: true,
		leaseMs: LEASE_MS,
		tool: "0.0.0",
		onEvent: (event) => events.push(event),
	});
	if ("finished" in joined) throw new Error("finished");
	return await prepareJob(joined.job, { planId: "plan", shares });
}

async function work(number: number): Promise<Worker> {
	const job = await joinAs(number);
	const turn = (await shareTurns(job).next()).value;
	if (turn === undefined) throw new Error("nothing to do");
	const held = await openShare(job, turn, { directory, entries, files });
	const writer = createEntryWriter({
		directory: held.directory,
		entries,
		files,
		writeMode: held.writeMode,
		isFinished: (entry) => held.resumed.has(entry),
		record: (finished) => held.record(finished),
	});
	return {
		job,
		turn,
		held,
		writer,
		async write(...which) {
			for (const entry of which) await writeEntry(writer, entries, entry);
			await writer.flush();
		},
		async end() {
			await writer[Symbol.asyncDispose]();
			await held[Symbol.asyncDispose]();
			await turn.claim.release();
		},
	};
}

async function finish(worker: Worker): Promise<void> {
	const rest = [...entries.keys()].filter((entry) => !worker.writer.isFinished(entry));
	await worker.write(...rest);
	await worker.writer[Symbol.asyncDispose]();
	const nothing = { seconds: 0, fetchedBytes: 0, requests: 0, retries: 0, writtenBytes: 0 };
	await worker.held.finish({ ...nothing, entries: rest.length });
	await worker.end();
	await commitJob(worker.job, { index: () => index, commit: "local" });
}

async function expectWhole(): Promise<void> {
	expect((await readCheckpoint(directory)).problems).toEqual([]);
	for (const entry of entries) {
		const { data } = await readEntryData(directory, entry, { verify: true });
		expect(Buffer.from(data).equals(dataOf(entry)), entry.fqn).toBe(true);
	}
	expect(checkpointFiles(directory)).toEqual([
		".metadata",
		...files.map(({ name }) => name).toSorted(),
	]);
}

/** Makes the newest claim one of a machine of which nobody here knows anything, and stops its heart. */
async function cutOff(worker: Worker): Promise<void> {
	await new Promise((resolve) => setTimeout(resolve, LEASE_MS / 3));
	const folder = join(worker.held.directory, "..");
	const path = join(folder, `claim.${worker.turn.claim.number}`);
	const text = (await readFile(path, "utf8")).trim();
	const record = JSON.parse(text) as { readonly process: object };
	const elsewhere = {
		...record,
		process: { ...record.process, machine: "elsewhere", host: "far" },
	};
	// In another file: the holder goes on to write its counter into the one it has open.
	await rm(path);
	await writeFile(path, JSON.stringify(elsewhere));
}

describe("a share whose holder is silent", () => {
	test("is copied, and its holder, back again, does no harm", async () => {
		const lost = await work(0);
		await lost.write(0, 1, 2, 5);
		await cutOff(lost);
		const next = await work(1);
		expect(next.turn).toMatchObject({ isTakenOver: true, before: { state: "silent" } });
		expect(next.held.resumed).toEqual(new Set([0, 1, 2, 5]));
		expect(next.held.directory).not.toBe(lost.held.directory);
		expect(events).toContainEqual({
			kind: "warning",
			message: expect.stringMatching(/copying what worker 0 .* finished, .*4 of/) as string,
		});
		// It writes nonsense now, which only its own files can hold, and cannot record it.
		const nonsense = dataOf(at(entries, 3)).map((byte) => byte ^ 0xff);
		await lost.writer.write(3, 0, nonsense);
		await lost.writer.finish(3, crc32(nonsense));
		await expect(lost.writer.flush()).rejects.toMatchObject({ code: "SHARE_TAKEN_OVER" });
		await finish(next);
		await lost.end();
		await expectWhole();
	});

	test("and whose data is not what its journal says is fetched again", async () => {
		const lost = await work(0);
		await lost.write(0, 1, 2);
		const { file, offset, length } = at(entries, 1);
		const path = join(lost.held.directory, file);
		const bytes = await readFile(path);
		bytes[offset + (length >> 1)] = ~(bytes[offset + (length >> 1)] ?? 0);
		await writeFile(path, bytes);
		await cutOff(lost);
		const next = await work(1);
		expect(next.held.resumed).toEqual(new Set([0, 2]));
		await finish(next);
		await lost.end();
		await expectWhole();
	});

	test("that finishes it all the same, after it was taken over and done", async () => {
		const slow = await work(0);
		const all = [...entries.keys()];
		await slow.write(...all);
		await cutOff(slow);
		await finish(await work(1));
		const before = await readFile(join(directory, ".metadata"));
		const nothing = { seconds: 0, fetchedBytes: 0, requests: 0, retries: 0, writtenBytes: 0 };
		await slow.writer[Symbol.asyncDispose]();
		await expect(slow.held.finish({ ...nothing, entries: 9 })).rejects.toMatchObject({
			code: "SHARE_TAKEN_OVER",
		});
		await slow.end();
		expect(await readFile(join(directory, ".metadata"))).toEqual(before);
		await expectWhole();
	});
});

describe("a share whose holder gave it back", () => {
	test("is gone on with where it is", async () => {
		const first = await work(0);
		await first.write(4, 6);
		await first.end();
		const second = await work(1);
		expect(second.held.directory).toBe(first.held.directory);
		expect(second.held.resumed).toEqual(new Set([4, 6]));
		await finish(second);
		await expectWhole();
	});

	test("is copied if anybody between may still come back", async () => {
		const first = await work(0);
		await first.write(4, 6);
		await first.end();
		// Holds the share, has opened nothing yet, and is not heard of again.
		const job = await joinAs(1);
		const turn = (await shareTurns(job).next()).value;
		const folder = join(first.held.directory, "..");
		await rm(join(folder, "claim.2"));
		await writeFile(join(folder, "claim.2"), "{");
		const third = await work(0);
		expect(third.turn.claim.number).toBe(3);
		expect(third.held.directory).not.toBe(first.held.directory);
		expect(third.held.resumed).toEqual(new Set([4, 6]));
		// It is back, and would go on in the first one's files: it finds that it lost the share before it writes.
		await expect(
			openShare(job, turn as ShareTurn, { directory, entries, files }),
		).rejects.toMatchObject({
			code: "SHARE_TAKEN_OVER",
		});
		await turn?.claim.release();
		await finish(third);
		await expectWhole();
	});

	test("in the middle of putting its files in place is finished by the next", async () => {
		const first = await work(0);
		await first.write(...entries.keys());
		await first.end();
		const { name } = at(files, 1);
		const { rename } = await import("node:fs/promises");
		await rename(join(first.held.directory, name), join(directory, name));
		const second = await work(1);
		expect(second.held.resumed.size).toBe(entries.length);
		await finish(second);
		await expectWhole();
	});
});

test("who claimed a share just before the job ended brings nothing of its state back", async () => {
	const first = await work(0);
	await first.write(...entries.keys());
	await first.writer[Symbol.asyncDispose]();
	await first.end();
	const late = await joinAs(1);
	const turn = (await shareTurns(late).next()).value as ShareTurn;
	// Somebody else finished it all the same, and the job with it.
	const nothing = { seconds: 0, fetchedBytes: 0, requests: 0, retries: 0, writtenBytes: 0 };
	await rm(join(first.held.directory, "..", `claim.${turn.claim.number}`));
	await first.held.finish({ ...nothing, entries: entries.length });
	await commitJob(first.job, { index: () => index, commit: "local" });
	await expect(openShare(late, turn, { directory, entries, files })).rejects.toMatchObject({
		code: "OUTPUT_WRITE",
	});
	await turn.claim.release();
	await expectWhole();
});

test("the commit of a worker that died in it is done by another", async () => {
	const worker = await work(0);
	await worker.write(...entries.keys());
	await worker.writer[Symbol.asyncDispose]();
	const nothing = { seconds: 0, fetchedBytes: 0, requests: 0, retries: 0, writtenBytes: 0 };
	await worker.held.finish({ ...nothing, entries: entries.length });
	await worker.end();
	const failing = { commit: "local", index: () => ({ tensors: [], objects: [] }) };
	await rm(join(directory, at(files, 0).name));
	await expect(commitJob(worker.job, failing)).rejects.toMatchObject({ code: "OUTPUT_WRITE" });
	expect(await readdir(directory)).not.toContain(".metadata");
	// The share that lost a file is not done any more.
	await finish(await work(1));
	await expectWhole();
});
