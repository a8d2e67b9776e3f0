import { expect, test } from "vitest";
import { InterruptedError, watchInterrupts } from "../../src/cli/interrupt.ts";
import { createFakeIo } from "../support/cli-io.ts";

test("the first interrupt aborts, the second ends the process", () => {
	const io = createFakeIo();
	let stops = 0;
	using interrupts = watchInterrupts(io, () => stops++);
	expect(interrupts.signal.aborted).toBe(false);
	io.interrupt();
	expect(interrupts.signal.reason).toBeInstanceOf(InterruptedError);
	expect(stops).toBe(1);
	expect(io.exits).toEqual([]);
	io.interrupt();
	expect(io.exits).toEqual([130]);
	expect(stops).toBe(1);
});

test("nothing listens when the work is done", () => {
	const io = createFakeIo();
	const interrupts = watchInterrupts(io, () => {});
	interrupts[Symbol.dispose]();
	io.interrupt();
	expect(interrupts.signal.aborted).toBe(false);
});
