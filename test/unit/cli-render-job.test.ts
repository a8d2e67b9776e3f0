import { describe, expect, test } from "vitest";
import { formatNumbers, renderJob, renderWorkers } from "../../src/cli/render-job.ts";
import type { JobSummary, WorkerSummary } from "../../src/index.ts";

const worker = (index: number, more: Partial<WorkerSummary> = {}): WorkerSummary => ({
	worker: index,
	host: `node-${Math.floor(index / 2)}`,
	shares: [index],
	takeovers: 0,
	seconds: 100,
	fetchedBytes: 50e9,
	requests: 3000,
	retries: 0,
	writtenBytes: 51e9,
	entries: 1200,
	resumedEntries: 0,
	...more,
});

const JOB: JobSummary = {
	format: "hf-stream-dcp summary 1",
	tool: "1.0.0",
	command: { model: "org/model" },
	planId: "0".repeat(64),
	commit: "1".repeat(40),
	begun: "2026-11-27T20:00:00.000Z",
	ended: "2026-11-27T20:02:05.000Z",
	seconds: 125,
	shares: 4,
	dataBytes: 204e9,
	files: 32,
	metadataBytes: 1_200_000,
	fetchedBytes: 200e9,
	requests: 12_000,
	retries: 3,
	takeovers: 1,
	workers: [
		worker(0),
		worker(1, { shares: [1, 3], takeovers: 1, retries: 3, resumedEntries: 7 }),
		worker(2),
	],
};

test("what a job did, and each of its workers", () => {
	expect(renderJob(JOB)).toMatchInlineSnapshot(`
		"job      3 workers on 2 hosts, 4 shares, 1 taken over; 2:05, 1.60 GB/s
		fetched  200 GB in 12,000 requests, 3 retries
		written  204 GB: 32 files; .metadata 1.20 MB

		worker  host    shares  taken over  wall      rate  fetched  requests  retries  written  entries  resumed
		     0  node-0  0                0  1:40  500 MB/s  50.0 GB     3,000        0  51.0 GB    1,200        0
		     1  node-0  1, 3             1  1:40  500 MB/s  50.0 GB     3,000        3  51.0 GB    1,200        7
		     2  node-1  2                0  1:40  500 MB/s  50.0 GB     3,000        0  51.0 GB    1,200        0"
	`);
});

test("one worker needs no table", () => {
	const text = renderJob({ ...JOB, workers: [worker(0)], shares: 1, takeovers: 0, retries: 0 });
	expect(text).toMatchInlineSnapshot(`
		"job      1 worker on 1 host, 1 share; 2:05, 1.60 GB/s
		fetched  200 GB in 12,000 requests, 0 retries
		written  204 GB: 32 files; .metadata 1.20 MB"
	`);
});

test("of many workers the slowest are listed", () => {
	const workers = Array.from({ length: 1000 }, (_, index) => worker(index, { seconds: index }));
	const lines = renderWorkers({ ...JOB, workers }).split("\n");
	expect(lines).toHaveLength(1 + 32 + 1);
	expect(lines[1]).toMatch(/^ +999 /);
	expect(lines.at(-1)).toBe("the slowest 32; 968 more in summary.json");
});

describe("shares", () => {
	test.each<[readonly number[], string]>([
		[[], ""],
		[[3], "3"],
		[[0, 1, 2, 5], "0–2, 5"],
		[[0, 8, 16, 24], "0, 8, 16, 24"],
		[[0, 2, 4, 6, 8], "5"],
	])("%j: %s", (shares, expected) => {
		expect(formatNumbers(shares)).toBe(expected);
	});
});
