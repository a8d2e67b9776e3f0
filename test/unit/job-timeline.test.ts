import { expect, test } from "vitest";
import type { JobSummary, ShareReport } from "../../src/core/job-summary.ts";
import { formatSummary, workersOf } from "../../src/job/summary.ts";
import { condensePoints, recordTimeline, type Totals } from "../../src/job/timeline.ts";
import { manualTimers } from "../support/manual-timers.ts";

/** Bytes a second; whoever reads the totals at a later second sees more. */
const FETCHED = 1000;
const WRITTEN = 10;

test("a share is looked at once a second, from its own beginning", async () => {
	const timers = manualTimers();
	timers.advance(5_000);
	let retries = 3;
	const read = (): Totals => {
		const seconds = timers.now() / 1000;
		return [FETCHED * seconds, WRITTEN * seconds, retries];
	};
	using recorder = recordTimeline(timers, read, () => 1_700_000_000_000 + timers.now());
	await timers.tick(1_000);
	retries++;
	await timers.tick(1_000);
	timers.advance(250);
	expect(recorder.end()).toEqual({
		begun: "2023-11-14T22:13:25.000Z",
		ended: "2023-11-14T22:13:27.250Z",
		points: [
			[1, 1000, 10, 0],
			[2, 2000, 20, 1],
			[2.25, 2250, 22.5, 1],
		],
	});
});

test("of a long one there are at most 240 points, evenly spread, and the end", () => {
	let now = 0;
	let tick = (): void => {};
	const timers = {
		now: () => now,
		every: (_: number, call: () => void) => {
			tick = call;
			return () => (tick = () => {});
		},
		wait: () => Promise.resolve(),
	};
	using recorder = recordTimeline(timers, () => [FETCHED * now, 0, 0]);
	let most = 0;
	for (const seconds of [239, 240, 500, 12_345]) {
		for (; now < seconds * 1000;) {
			now += 1000;
			tick();
		}
		const { points } = peek();
		most = Math.max(most, points.length);
		const gaps = points.slice(1, -1).map(([at], index) => at - points[index]![0]);
		expect(new Set(gaps).size, `${seconds} s`).toBe(1);
		expect(points[0]![0]).toBe(gaps[0]);
		expect(points.at(-1)![0]).toBe(seconds);
	}
	expect(most).toBeLessThanOrEqual(240);
	expect(most).toBeGreaterThan(200);

	/** The end as of now: the clock goes on afterwards. */
	function peek(): ReturnType<typeof recorder.end> {
		const going = tick;
		const seen = recorder.end();
		tick = going;
		return seen;
	}
});

test("a job of many shares keeps fewer points of each, always with the end", () => {
	const points = Array.from({ length: 240 }, (_, i) => [i + 1, i, i, 0] as const);
	expect(condensePoints(points, 1)).toEqual(points);
	expect(condensePoints(points, 100)).toEqual(points);
	expect(condensePoints(points, 200)).toHaveLength(120);
	for (const shares of [1_000, 100_000]) {
		const few = condensePoints(points, shares);
		expect(few.length).toBeLessThanOrEqual(24);
		expect(few.length).toBeGreaterThanOrEqual(7);
		expect(few.at(-1)).toEqual(points.at(-1));
	}
	expect(condensePoints([[0, 0, 0, 0]], 5_000)).toEqual([[0, 0, 0, 0]]);
});

const figures = {
	host: "node-1",
	seconds: 1,
	fetchedBytes: 2,
	requests: 3,
	retries: 0,
	writtenBytes: 4,
	entries: 5,
	resumedEntries: 0,
};

function report(share: number, hasTimeline = true): ShareReport {
	const facts = { share, attempts: 1, takenOver: false };
	const course = { begun: "2023-11-14T22:13:25.000Z", ended: "2023-11-14T22:13:26.000Z" };
	const timeline = { ...facts, ...course, points: [[1, 2, 4, 0]] as const };
	return { ...facts, ...figures, worker: 0, ...(hasTimeline ? { timeline } : undefined) };
}

test("a worker's time lines are in the order of its shares; without one of each there are none", () => {
	const [worker] = workersOf([report(2), report(0)]);
	expect(worker!.shares).toEqual([0, 2]);
	expect(worker!.timelines!.map(({ share }) => share)).toEqual([0, 2]);
	expect(workersOf([report(2), report(0, false)])[0]!.timelines).toBeUndefined();
});

test("the text of a summary is its JSON, with a line to each point", () => {
	const summary = { command: { note: "[\n1,\n2]" }, workers: workersOf([report(0)]) };
	const text = formatSummary(summary as unknown as JobSummary);
	expect(JSON.parse(text)).toEqual(summary);
	expect(text).toContain("\t[1, 2, 4, 0]\n");
});
