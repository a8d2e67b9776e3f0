import { describe, expect, test } from "vitest";
import {
	type ConnectionLimit,
	createConnectionLimit,
} from "../../src/fetch/data-plane/connection-limit.ts";
import { isLagging } from "../../src/fetch/data-plane/tail-watch.ts";

/** A limit at an origin that gives `rate(connections)` bytes per millisecond. */
function simulate(rate: (connections: number) => number, max = 64) {
	let now = 0;
	let isWaiting = true;
	let raises = 0;
	const limit: ConnectionLimit = createConnectionLimit({
		max,
		now: () => now,
		isWaiting: () => isWaiting,
		raised: () => raises++,
	});
	return {
		limit,
		raises: () => raises,
		stopWaiting: () => {
			isWaiting = false;
		},
		run: (ms: number): number[] => {
			const values: number[] = [];
			for (const end = now + ms; now < end; now += 50) {
				limit.received(50 * rate(limit.value));
				if (values.at(-1) !== limit.value) values.push(limit.value);
			}
			return values;
		},
	};
}

const MB_PER_S = 1000;

describe("the number of connections", () => {
	test("doubles while every connection brings its own rate", () => {
		const { limit, run } = simulate((n) => n * 50 * MB_PER_S);
		expect(limit.value).toBe(4);
		expect(run(20_000)).toEqual([4, 8, 16, 32, 64]);
	});

	test("stays where more bring nothing, and tries again later in small steps", () => {
		const { run } = simulate((n) => Math.min(n, 4) * 50 * MB_PER_S);
		expect(run(3000)).toEqual([4, 8, 4]);
		expect(run(30_000).slice(0, 3)).toEqual([4, 6, 4]);
	});

	test("finds the knee", () => {
		const { run } = simulate((n) => Math.min(n, 12) * 50 * MB_PER_S);
		expect(run(6000)).toEqual([4, 8, 16, 32, 16]);
		expect(new Set(run(60_000))).toEqual(new Set([16, 18]));
	});

	test("never exceeds the cap, nor starts above it", () => {
		expect(simulate((n) => n * 50 * MB_PER_S, 2).run(5000)).toEqual([2]);
		expect(simulate((n) => n * 50 * MB_PER_S, 6).run(9000)).toEqual([4, 6]);
	});

	test("is lowered by a quarter for a loss, and halved when asked, once for a burst", () => {
		const { limit, run } = simulate((n) => n * 50 * MB_PER_S);
		run(9000);
		expect(limit.value).toBe(64);
		limit.lost();
		limit.lost();
		limit.restrained();
		expect(limit.value).toBe(48);
		run(1000);
		limit.restrained();
		limit.restrained();
		expect(limit.value).toBe(24);
	});

	test("is at least one", () => {
		const { limit, run } = simulate((n) => n * 50 * MB_PER_S);
		for (let i = 0; i < 10; i++) {
			run(1000);
			limit.restrained();
		}
		expect(limit.value).toBe(1);
		// And finds its way up again.
		run(120_000);
		expect(limit.value).toBeGreaterThan(8);
	});

	test("says nothing without demand", () => {
		const { raises, run, stopWaiting } = simulate((n) => n * 50 * MB_PER_S);
		stopWaiting();
		expect(run(20_000)).toEqual([4]);
		expect(raises()).toBe(0);
	});
});

describe("a body lags", () => {
	const MiB = 2 ** 20;
	test.each([
		["that stands still", 8 * MiB, 0, 50 * MB_PER_S, true],
		["at a fiftieth of the usual rate", 16 * MiB, MB_PER_S, 50 * MB_PER_S, true],
		["not at half of it", 16 * MiB, 25 * MB_PER_S, 50 * MB_PER_S, false],
		["not when it is done before a new connection could help", MiB, MB_PER_S, 50 * MB_PER_S, false],
		["not where all are slow", 16 * MiB, MB_PER_S, MB_PER_S, false],
	])("%s", (_, left, rate, usual, lags) => {
		expect(isLagging(left, rate, usual)).toBe(lags);
	});
});
