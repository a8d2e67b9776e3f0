import { describe, expect, test } from "vitest";
import { createFlusher } from "../../src/stream/flusher.ts";

const GIB = 2 ** 30;

/** A flusher whose clock and disk the test moves. */
function setUp() {
	const state = { time: 0, started: 0, finish: () => {} };
	const flusher = createFlusher(
		() => {
			state.started++;
			return new Promise<void>((resolve) => (state.finish = resolve));
		},
		() => state.time,
	);
	return { state, flusher };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("flusher", () => {
	test("flushes after a GiB", async () => {
		const { state, flusher } = setUp();
		await flusher.wrote(GIB - 1);
		expect(state.started).toBe(0);
		await flusher.wrote(1);
		expect(state.started).toBe(1);
	});

	test("flushes after five seconds, and counts them from the last flush", async () => {
		const { state, flusher } = setUp();
		state.time = 4999;
		await flusher.wrote(1);
		expect(state.started).toBe(0);
		state.time = 5000;
		await flusher.wrote(1);
		expect(state.started).toBe(1);
		state.finish();
		await settle();
		state.time = 9999;
		await flusher.wrote(1);
		expect(state.started).toBe(1);
		state.time = 10_000;
		await flusher.wrote(1);
		expect(state.started).toBe(2);
	});

	test("one at a time: a slow flush lets writing go on, but not for another GiB", async () => {
		const { state, flusher } = setUp();
		await flusher.wrote(GIB);
		state.time = 60_000;
		await flusher.wrote(GIB / 2);
		expect(state.started).toBe(1);
		let isThrough = false;
		const writing = flusher.wrote(GIB / 2).then(() => (isThrough = true));
		await settle();
		expect(isThrough).toBe(false);
		state.finish();
		await writing;
		expect(state.started).toBe(2);
	});
});
