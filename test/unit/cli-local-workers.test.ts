import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addConversionFlags } from "../../src/cli/flags.ts";
import { addWorkerFlags } from "../../src/cli/worker-flags.ts";
import { passedFlags } from "../../src/cli/local-workers/child-flags.ts";
import { readChildLine } from "../../src/cli/local-workers/child-log.ts";
import { addTotals } from "../../src/cli/local-workers/job-totals.ts";
import { type ChildSummary, reportOf } from "../../src/cli/local-workers/report.ts";
import {
	type LocalWorkerResult,
	runLocalWorkers,
} from "../../src/cli/local-workers/run-local-workers.ts";
import { createProgress } from "../../src/cli/progress.ts";
import { createFakeIo, type FakeChild, type FakeTerminal } from "../support/cli-io.ts";

describe("the flags that workers are started with", () => {
	const passed = async (...argv: readonly string[]): Promise<readonly string[]> => {
		const command = addWorkerFlags(addConversionFlags(new Command("convert")))
			.argument("<repo>")
			.requiredOption("--out <dir>")
			.option("--overwrite")
			.action(() => {});
		await command.parseAsync(["org/model", "--out", "ckpt", ...argv], { from: "user" });
		return passedFlags(command);
	};

	test.each<[string, readonly string[], readonly string[]]>([
		["defaults are left to the worker", [], []],
		["both spellings", ["--tp", "2", "--memory=1GiB"], ["--memory=1GiB", "--tp=2"]],
		[
			"values with anything in them",
			["--pp-module-fqns", '[["a b", "c"]]', "--revision=--odd"],
			["--revision=--odd", '--pp-module-fqns=[["a b", "c"]]'],
		],
		["degrees below zero", ["--dp-shard", "-1"], ["--dp-shard=-1"]],
		["switches", ["--overwrite", "--no-takeover"], ["--no-takeover", "--overwrite"]],
		[
			"torchtitan's names",
			["--parallelism.tensor_parallel_degree", "4"],
			["--parallelism.tensor_parallel_degree=4"],
		],
		["about workers and the log: none", ["--workers=3", "--log-format=json", "--quiet"], []],
		["times", ["--lease", "5", "--threads", "2"], ["--threads=2", "--lease=5"]],
	])("%s", async (_, argv, expected) => {
		expect(await passed(...argv)).toEqual(
			[...expected, "--out=ckpt"].toSorted(byCommand(expected)),
		);
	});

	/** `--out` and `--overwrite` were added last. */
	function byCommand(expected: readonly string[]): (a: string, b: string) => number {
		const order = [
			...expected.filter((flag) => flag !== "--overwrite"),
			"--out=ckpt",
			"--overwrite",
		];
		return (a, b) => order.indexOf(a) - order.indexOf(b);
	}
});

describe("a line of a worker's log", () => {
	test.each([
		['{"kind":"warning","message":"careful"}', { kind: "warning", message: "careful" }],
		['{"kind":"progress","phase":"plan"}', { kind: "progress", progress: { phase: "plan" } }],
		[
			'{"kind":"error","message":"no","exitCode":5}',
			{ kind: "error", error: { message: "no", exitCode: 5 } },
		],
		["(node:7) Warning: odd", { kind: "text", text: "(node:7) Warning: odd" }],
		['{"kind":"progress"', { kind: "text", text: '{"kind":"progress"' }],
		['{"level":30}', { kind: "text", text: '{"level":30}' }],
	])("%s", (line, expected) => {
		expect(readChildLine(line)).toMatchObject(expected);
	});
});

const PROGRESS = {
	phase: "stream",
	receivedBytes: 3e9,
	writtenBytes: 2e9,
	entriesDone: 5,
	resumedEntries: 1,
	fetchBytes: 10e9,
	entries: 20,
};

describe("how far all workers are", () => {
	test("the sums", () => {
		const begun = { phase: "headers", receivedBytes: 7, writtenBytes: 0, entriesDone: 0 };
		const totals = addTotals([
			{ progress: PROGRESS, isRunning: true },
			{ progress: PROGRESS, isRunning: true },
			{ progress: { ...begun, resumedEntries: 0 }, isRunning: true },
			{ progress: undefined, isRunning: true },
		]);
		expect(totals).toEqual({
			phase: "stream",
			receivedBytes: 6e9 + 7,
			writtenBytes: 4e9,
			entriesDone: 10,
			resumedEntries: 2,
			totals: { fetchBytes: 20e9, entries: 40 },
		});
	});

	test("what a dead worker left is counted by whoever takes it over", () => {
		const takeover = { ...PROGRESS, entriesDone: 5, resumedEntries: 4, entries: 20 };
		const { entriesDone, totals } = addTotals([
			{ progress: PROGRESS, isRunning: false },
			{ progress: takeover, isRunning: true },
		]);
		expect(entriesDone).toBe(5);
		expect(totals).toEqual({ fetchBytes: 13e9, entries: 20 });
	});

	test("what an ended worker did counts", () => {
		const done = { ...PROGRESS, receivedBytes: 10e9, entriesDone: 20 };
		expect(addTotals([{ progress: done, isRunning: false }])).toMatchObject({
			receivedBytes: 10e9,
			entriesDone: 20,
			totals: { fetchBytes: 10e9, entries: 20 },
		});
	});

	test("nobody has planned", () => {
		expect(addTotals([])).toMatchObject({ phase: "resolve", totals: undefined });
	});
});

function start(count: number, terminal: FakeTerminal = {}) {
	const io = createFakeIo(terminal);
	const progress = createProgress(io, { format: "text", quiet: false });
	const args = ["convert", "org/model"];
	const done = runLocalWorkers(io, { count, args, progress, graceMs: 20_000 });
	const child = (index: number): FakeChild => {
		const found = io.children[index];
		if (found === undefined) throw new Error(`worker ${index} was not started`);
		return found;
	};
	return { io, progress, done, child };
}

describe("local workers", () => {
	test("are this program with the same command", async () => {
		const { io, done, child } = start(2);
		expect(io.children.map(({ args }) => args.slice(0, 4))).toEqual([
			["convert", "org/model", "--worker=0/2", "--log-format=json"],
			["convert", "org/model", "--worker=1/2", "--log-format=json"],
		]);
		expect(child(0).args).toContain("--grace=20");
		expect(child(1).env).toEqual({ HF_STREAM_DCP_LOCAL_WORKERS: "2" });
		for (const one of io.children) await one.end({ stdout: "{}" });
		expect((await done).workers).toMatchObject([
			{ index: 0, code: 0 },
			{ index: 1, code: 0 },
		]);
	});

	test("have one line, and say once what all of them say", () => {
		const { io, child } = start(3, { isTTY: true, columns: 200 });
		for (const one of io.children) {
			one.say({ kind: "progress", ...PROGRESS });
			one.say({ kind: "warning", message: "the token is for another Hub" });
		}
		child(2).say({ kind: "retry", what: "a.safetensors", reason: "HTTP 503", delayMs: 1 });
		child(2).say("(node:7) Warning: odd");
		expect(io.takeErr()).toBe(
			"warning: the token is for another Hub\nwarning: worker 2: (node:7) Warning: odd\n",
		);
		io.advance(200);
		expect(io.takeErr()).toMatch(/9\.00 GB of 28\.5 GB .* 15\/60 entries · 1 retry/);
	});

	test("are told of signals, once, and killed by a second Ctrl-C", () => {
		const { io } = start(2);
		io.interrupt("SIGINT");
		expect(io.children.map(({ signals }) => signals)).toEqual([["SIGINT"], ["SIGINT"]]);
		expect(io.takeErr()).toBe(
			"warning: stopping 2 workers; the same command continues from here\n",
		);
		io.interrupt("SIGINT");
		expect(io.children.map(({ signals }) => signals.at(-1))).toEqual(["SIGKILL", "SIGKILL"]);
		expect(io.exits).toEqual([130]);
	});

	test("have their grace period, and are killed a little later", () => {
		const { io } = start(1);
		io.interrupt("SIGTERM");
		io.advance(20_000);
		expect(io.exits).toEqual([]);
		io.advance(2000);
		expect(io.children[0]?.signals).toEqual(["SIGTERM", "SIGKILL"]);
		expect(io.exits).toEqual([143]);
	});

	test("go on when one of them is killed", async () => {
		const { done, child } = start(2);
		await child(0).end({ code: undefined, killedBy: "SIGKILL" });
		expect(child(1).signals).toEqual([]);
		child(1).say({ kind: "error", code: "OUTPUT_WRITE", message: "the disk is full", exitCode: 5 });
		await child(1).end({ code: 5 });
		const { workers, stopped } = await done;
		expect(workers).toMatchObject([
			{ killedBy: "SIGKILL", error: undefined },
			{ code: 5, error: { code: "OUTPUT_WRITE" } },
		]);
		expect(stopped).toBeUndefined();
	});

	test("which was stopped, is known at the end", async () => {
		const { io, done, child } = start(1);
		io.interrupt("SIGTERM");
		await child(0).end({ code: 143 });
		expect((await done).stopped).toMatchObject({ exitCode: 143 });
	});
});

describe("what came of it", () => {
	const SUMMARY: ChildSummary = { outcome: "committed", directory: "/ckpt" };
	const worker = (index: number, result: Partial<LocalWorkerResult>): LocalWorkerResult => ({
		index,
		code: 0,
		killedBy: undefined,
		error: undefined,
		stdout: "",
		...result,
	});
	const done = (index: number, outcome: ChildSummary["outcome"] = "others"): LocalWorkerResult =>
		worker(index, { stdout: JSON.stringify({ ...SUMMARY, outcome }) });
	const killed = (index: number): LocalWorkerResult =>
		worker(index, { code: undefined, killedBy: "SIGKILL" });
	const failed = (
		index: number,
		code: string,
		exitCode: number,
		message = code,
	): LocalWorkerResult =>
		worker(index, { code: exitCode, error: { code, message, exitCode, hint: "mend it" } });
	const report = (...workers: readonly LocalWorkerResult[]) =>
		reportOf({ workers, stopped: undefined });

	test("all did their part", () => {
		expect(report(done(0), done(1, "committed"))).toMatchObject({
			finished: { directory: "/ckpt" },
			warnings: [],
			error: undefined,
		});
	});

	test("a failure is a warning when others finished the work", () => {
		expect(report(killed(0), done(1), failed(2, "OUTPUT_WRITE", 5, "disk full"))).toMatchObject({
			finished: { outcome: "others" },
			warnings: [
				"worker 0 was ended by SIGKILL; others did its work",
				"worker 2 failed: disk full; others did its work",
			],
			error: undefined,
		});
	});

	test("nobody finished it: the worst failure, and the others' where they differ", () => {
		const { finished, warnings, error } = report(
			killed(0),
			failed(1, "HTTP_STATUS", 3),
			failed(2, "OUTPUT_WRITE", 5, "disk full"),
			failed(3, "OUTPUT_WRITE", 5, "disk full"),
			done(4, "left"),
		);
		expect(finished).toBeUndefined();
		expect(error).toMatchObject({ code: "OUTPUT_WRITE", message: "disk full", hint: "mend it" });
		expect(warnings).toEqual(["worker 1 failed: HTTP_STATUS", "worker 0 was ended by SIGKILL"]);
	});

	test("all were killed", () => {
		const { error } = report(killed(0), killed(1));
		expect(error).toMatchObject({ code: "WORKER_FAILED" });
		expect(error?.message).toBe("worker 0 was ended by SIGKILL");
	});

	test("a bug of ours stays one", () => {
		const bug = worker(0, { code: 1, error: { message: "index 3", exitCode: 1 } });
		const { error } = report(bug);
		expect(error?.name).toBe("Error");
		expect(error?.message).toBe("worker 0: index 3");
	});

	test("workers that leave shares", () => {
		expect(report(done(0, "left")).error).toMatchObject({ code: "WORKER_FAILED" });
	});
});
