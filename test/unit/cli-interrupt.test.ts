import { expect, test } from "vitest";
import { InterruptedError, watchInterrupts } from "../../src/cli/interrupt.ts";
import { createFakeIo } from "../support/cli-io.ts";

test("the first interrupt aborts, the second ends the process", () => {
	const io = createFakeIo();
	using interrupts = watchInterrupts(io, "stopping");
	expect(interrupts.signal.aborted).toBe(false);
	io.interrupt();
	expect(interrupts.signal.reason).toBeInstanceOf(InterruptedError);
	expect(io.takeErr()).toBe("\nstopping\n");
	expect(io.exits).toEqual([]);
	io.interrupt();
	expect(io.exits).toEqual([130]);
});

test("nothing listens when the work is done", () => {
	const io = createFakeIo();
	const interrupts = watchInterrupts(io, "stopping");
	interrupts[Symbol.dispose]();
	io.interrupt();
	expect(interrupts.signal.aborted).toBe(false);
});
