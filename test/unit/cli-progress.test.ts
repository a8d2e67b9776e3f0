import { describe, expect, test } from "vitest";
import { createProgress, type ProgressOptions } from "../../src/cli/progress.ts";
import type { ProgressEvent } from "../../src/core/events.ts";
import { createFakeIo, type FakeTerminal } from "../support/cli-io.ts";

const PLANNED: ProgressEvent = { kind: "planned", fetchBytes: 10e9, writeBytes: 11e9, entries: 4 };
const STREAM: ProgressEvent = { kind: "phase", phase: "stream" };

function start(terminal: FakeTerminal, options: Partial<ProgressOptions> = {}) {
	const io = createFakeIo(terminal);
	const progress = createProgress(io, { format: "text", quiet: false, ...options });
	const emit = (...events: readonly ProgressEvent[]): void => events.forEach(progress.onEvent);
	return { io, progress, emit };
}

describe("in a log", () => {
	test("writes a line every five seconds", () => {
		const { io, progress, emit } = start({});
		emit({ kind: "phase", phase: "headers" });
		io.advance(4999);
		expect(io.takeErr()).toBe("");
		io.advance(1);
		expect(io.takeErr()).toBe("reading headers\n");
		emit(PLANNED, STREAM);
		emit({ kind: "received", bytes: 2e9 }, { kind: "entry", index: 0, resumed: false });
		io.advance(5000);
		expect(io.takeErr()).toBe("2.00 GB of 10.0 GB · 400 MB/s · ETA 20 s · 1/4 entries\n");
		progress.stop();
		io.advance(60_000);
		expect(io.takeErr()).toBe("");
	});

	test("says why something was tried again", () => {
		const { io, emit } = start({});
		emit(PLANNED, STREAM, {
			kind: "retry",
			what: "model.safetensors",
			reason: "HTTP 503",
			delayMs: 100,
		});
		io.advance(5000);
		expect(io.takeErr()).toBe(
			"0 B of 10.0 GB · 0 B/s · ETA – · 0/4 entries · 1 retry (last: model.safetensors: HTTP 503)\n",
		);
	});

	test("says so before the first byte, too: a Hub out of reach is tried for a minute", () => {
		const { io, emit } = start({});
		const reason = "getaddrinfo ENOTFOUND hub.test";
		emit({ kind: "phase", phase: "resolve" });
		emit({ kind: "retry", what: "org/model", reason, delayMs: 500 });
		io.advance(5000);
		expect(io.takeErr()).toBe(
			"resolving the source · 1 retry (last: org/model: getaddrinfo ENOTFOUND hub.test)\n",
		);
	});

	test("does not count what an earlier run finished as still to fetch", () => {
		const { io, emit } = start({});
		emit(PLANNED, STREAM);
		for (const index of [0, 1]) emit({ kind: "entry", index, resumed: true });
		emit({ kind: "received", bytes: 1e9 });
		io.advance(5000);
		expect(io.takeErr()).toBe("1.00 GB of 5.00 GB · 200 MB/s · ETA 20 s · 2/4 entries\n");
	});

	test("measures the rate over the last ten seconds", () => {
		const { io, emit } = start({});
		emit(PLANNED, STREAM, { kind: "received", bytes: 5e9 });
		io.advance(20_000);
		emit({ kind: "received", bytes: 6e9 });
		io.advance(5000);
		expect(io.takeErr().split("\n").at(-2)).toBe(
			"6.00 GB of 10.0 GB · 100 MB/s · ETA 40 s · 0/4 entries",
		);
	});
});

describe("on a terminal", () => {
	test("rewrites one line and removes it at the end", () => {
		const { io, progress, emit } = start({ isTTY: true, columns: 80 });
		emit(PLANNED, STREAM, { kind: "received", bytes: 1e9 });
		io.advance(200);
		expect(io.takeErr()).toBe(
			"\r\u001B[2K1.00 GB of 10.0 GB · 5.00 GB/s · ETA 1.8 s · 0/4 entries",
		);
		progress.stop();
		expect(io.takeErr()).toBe("\r\u001B[2K");
	});

	test("is 80 wide where the width is unknown", () => {
		const { io, emit } = start({ isTTY: true, columns: 0 });
		emit(PLANNED, STREAM);
		io.advance(200);
		expect(io.takeErr()).toContain("0/4 entries");
	});

	test("never wraps", () => {
		const { io, emit } = start({ isTTY: true, columns: 20 });
		emit(PLANNED, STREAM);
		io.advance(200);
		const line = io.takeErr().replace("\r\u001B[2K", "");
		expect(line).toHaveLength(19);
		expect(line.endsWith("…")).toBe(true);
	});

	test("keeps warnings above the live line", () => {
		const { io, emit } = start({ isTTY: true, columns: 80 });
		io.advance(200);
		io.takeErr();
		emit({ kind: "warning", message: "3 tensors dropped" });
		expect(io.takeErr()).toBe("\r\u001B[2Kwarning: 3 tensors dropped\n");
	});
});

describe("one of several workers", () => {
	const worker = { index: 3, count: 8 };

	test("names itself in a log that all may write to", () => {
		const { io, progress } = start({}, { worker });
		progress.warn("careful");
		io.advance(5000);
		expect(io.takeErr()).toBe("warning: worker 3: careful\nworker 3: resolving the source\n");
	});

	test("also as JSON", () => {
		const { io, progress } = start({}, { worker, format: "json" });
		progress.warn("careful");
		expect(JSON.parse(io.takeErr())).toEqual({ kind: "warning", message: "careful", worker: 3 });
	});

	test("the only one does not", () => {
		const { io, progress } = start({}, { worker: { index: 0, count: 1 } });
		progress.warn("careful");
		expect(io.takeErr()).toBe("warning: careful\n");
	});

	test("has a last word for the process that started it", () => {
		const { io, progress, emit } = start({ isLocalWorker: true }, { format: "json" });
		emit(PLANNED, STREAM, { kind: "received", bytes: 10e9 });
		progress.stop();
		expect(JSON.parse(io.takeErr())).toMatchObject({ kind: "progress", receivedBytes: 10e9 });
	});
});

test("totals that somebody else added up take the place of the events", () => {
	const { io, progress } = start({});
	const totals = {
		phase: "stream",
		receivedBytes: 0,
		writtenBytes: 0,
		entriesDone: 0,
		resumedEntries: 0,
		totals: { fetchBytes: 10e9, entries: 4 },
	};
	progress.show(totals);
	progress.show({ ...totals, receivedBytes: 2e9, entriesDone: 1 });
	io.advance(5000);
	expect(io.takeErr()).toBe("2.00 GB of 10.0 GB · 400 MB/s · ETA 20 s · 1/4 entries\n");
});

test("a log has as many lines as were asked for", () => {
	const { io } = start({}, { intervalMs: 500 });
	io.advance(1000);
	expect(io.takeErr().trim().split("\n")).toHaveLength(2);
});

describe("as JSON", () => {
	test("writes one object per line, also on a terminal", () => {
		const { io, emit } = start({ isTTY: true }, { format: "json" });
		emit(PLANNED, STREAM, { kind: "received", bytes: 5e9 }, { kind: "written", bytes: 4e9 });
		emit({ kind: "warning", message: "careful" });
		io.advance(5000);
		const lines = io
			.takeErr()
			.trimEnd()
			.split("\n")
			.map((line) => JSON.parse(line) as unknown);
		expect(lines).toEqual([
			{ kind: "warning", message: "careful" },
			{
				kind: "progress",
				seconds: 5,
				phase: "stream",
				receivedBytes: 5e9,
				fetchBytes: 10e9,
				writtenBytes: 4e9,
				entriesDone: 0,
				resumedEntries: 0,
				entries: 4,
				retries: 0,
				bytesPerSecond: 1e9,
				etaSeconds: 5,
			},
		]);
	});
});

test("says at once which limit another worker met, until when, and what would raise it", () => {
	const { io, emit } = start({});
	emit({
		kind: "waiting",
		reason: 'the "resolvers" rate limit of huggingface.co is used up',
		hint: "Signed-in users have a higher limit: set HF_TOKEN.",
		delayMs: 155_000,
		until: Date.UTC(2026, 10, 27, 10, 0, 5),
	});
	expect(io.takeErr()).toBe(
		'warning: another worker was told that the "resolvers" rate limit of huggingface.co is used up: waiting 2:35, until 10:00:05 UTC. Signed-in users have a higher limit: set HF_TOKEN.\n',
	);
});

test("--quiet leaves warnings only", () => {
	const { io, emit } = start({ isTTY: true }, { quiet: true });
	emit(
		PLANNED,
		STREAM,
		{ kind: "retry", what: "x", reason: "y", delayMs: 1 },
		{ kind: "warning", message: "w" },
	);
	io.advance(60_000);
	expect(io.takeErr()).toBe("warning: w\n");
});
