import { describe, expect, test } from "vitest";
import { InterruptedError, watchInterrupts } from "../../src/cli/interrupt.ts";
import type { StopSignal } from "../../src/cli/io.ts";
import { createFakeIo } from "../support/cli-io.ts";

function watch(options: { isLocalWorker?: boolean; graceMs?: number } = {}) {
	const io = createFakeIo(options);
	const told: string[] = [];
	const interrupts = watchInterrupts(io, {
		graceMs: options.graceMs,
		onFirst: (signal) => told.push(signal),
		onLast: () => told.push("last"),
	});
	return { io, told, interrupts };
}

test.each<[StopSignal, number]>([
	["SIGINT", 130],
	["SIGTERM", 143],
])("the first %s aborts; the code is %i", (signal, exitCode) => {
	const { io, told, interrupts } = watch();
	expect(interrupts.signal.aborted).toBe(false);
	io.interrupt(signal);
	expect(interrupts.signal.reason).toBeInstanceOf(InterruptedError);
	expect(interrupts.signal.reason).toMatchObject({ exitCode });
	expect(told).toEqual([signal]);
	expect(io.exits).toEqual([]);
});

describe("a second signal", () => {
	test.each<[StopSignal, StopSignal, number[]]>([
		["SIGINT", "SIGINT", [130]],
		["SIGTERM", "SIGINT", [130]],
		["SIGINT", "SIGTERM", [143]],
		["SIGTERM", "SIGTERM", []],
	])("%s, then %s: exits %j", (first, second, exits) => {
		const { io, told } = watch();
		io.interrupt(first);
		io.interrupt(second);
		expect(io.exits).toEqual(exits);
		expect(told).toEqual(exits.length > 0 ? [first, "last"] : [first]);
	});

	test("is the business of the process that started a local worker", () => {
		const { io } = watch({ isLocalWorker: true });
		io.interrupt("SIGINT");
		io.interrupt("SIGINT");
		io.interrupt("SIGTERM");
		expect(io.exits).toEqual([]);
	});
});

describe("the grace period", () => {
	test("ends the process after SIGTERM", () => {
		const { io, told } = watch({ graceMs: 20_000 });
		io.interrupt("SIGTERM");
		io.advance(19_999);
		expect(io.exits).toEqual([]);
		io.advance(1);
		expect(io.exits).toEqual([143]);
		expect(told).toEqual(["SIGTERM", "last"]);
		io.advance(60_000);
		expect(io.exits).toEqual([143]);
	});

	test("also that of a local worker", () => {
		const { io } = watch({ graceMs: 20_000, isLocalWorker: true });
		io.interrupt("SIGTERM");
		io.advance(20_000);
		expect(io.exits).toEqual([143]);
	});

	test("is not for people", () => {
		const { io } = watch({ graceMs: 20_000 });
		io.interrupt("SIGINT");
		io.advance(60_000);
		expect(io.exits).toEqual([]);
	});

	test("is over when the work is done", () => {
		const { io, interrupts } = watch({ graceMs: 20_000 });
		io.interrupt("SIGTERM");
		interrupts[Symbol.dispose]();
		io.advance(60_000);
		expect(io.exits).toEqual([]);
	});
});

test("nothing listens when the work is done", () => {
	const { io, interrupts } = watch();
	interrupts[Symbol.dispose]();
	io.interrupt();
	expect(interrupts.signal.aborted).toBe(false);
});
