import { describe, expect, test } from "vitest";
import { createFlusher } from "../../src/stream/flusher.ts";

const MIB = 2 ** 20;
const WINDOW = 256 * MIB;

/** A flusher whose clock and disk the test moves. */
function setUp() {
	const state = { time: 0, bytes: 0, synced: 0, furthest: 0, started: 0, finish: () => {} };
	const flusher = createFlusher({
		flush: () => {
			state.started++;
			const { bytes } = state;
			return new Promise<void>((resolve) => {
				state.finish = () => {
					state.synced = bytes;
					resolve();
				};
			});
		},
		bufferedBytes: () => state.bytes,
		now: () => state.time,
	});
	const write = async (bytes: number): Promise<void> => {
		state.bytes += bytes;
		state.furthest = Math.max(state.furthest, state.bytes - state.synced);
		await flusher.pace();
	};
	return { state, write };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("flusher", () => {
	test("flushes after a window of buffered bytes", async () => {
		const { state, write } = setUp();
		await write(WINDOW - 1);
		expect(state.started).toBe(0);
		await write(1);
		expect(state.started).toBe(1);
	});

	test("direct bytes alone wait for nothing but the clock", async () => {
		const { state, write } = setUp();
		for (let i = 0; i < 10_000; i++) await write(0);
		expect(state.started).toBe(0);
		state.time = 5000;
		await write(0);
		expect(state.started).toBe(1);
	});

	test("flushes after five seconds, and counts them from the last flush", async () => {
		const { state, write } = setUp();
		state.time = 4999;
		await write(1);
		expect(state.started).toBe(0);
		state.time = 5000;
		await write(1);
		expect(state.started).toBe(1);
		state.finish();
		await settle();
		state.time = 9999;
		await write(1);
		expect(state.started).toBe(1);
		state.time = 10_000;
		await write(1);
		expect(state.started).toBe(2);
	});

	test("flushes that take long are spread out: they get a twentieth of the time", async () => {
		const { state, write } = setUp();
		state.time = 5000;
		await write(1);
		state.time = 6000;
		state.finish();
		await settle();
		state.time = 5000 + 20_000 - 1;
		await write(1);
		expect(state.started).toBe(1);
		state.time++;
		await write(1);
		expect(state.started).toBe(2);
	});

	test("one at a time: a slow flush lets writing go on, but never more than two windows ahead of the disk", async () => {
		const { state, write } = setUp();
		const step = 4 * MIB;
		const progress = { isDone: false };
		const writing = (async () => {
			for (let bytes = 0; bytes < 20 * WINDOW; bytes += step) await write(step);
			progress.isDone = true;
		})();
		let finished = 0;
		while (!progress.isDone) {
			await settle();
			expect(state.started).toBeLessThanOrEqual(finished + 1);
			if (state.started > finished) {
				finished++;
				state.finish();
			}
		}
		await writing;
		expect(state.furthest).toBe(2 * WINDOW);
		expect(state.started).toBe(20);
	});
});
