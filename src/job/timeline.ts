import type { ShareTimeline, TimePoint } from "../core/job-summary.ts";
import type { Timers } from "./timers.ts";

/** Time between two looks, until there are too many points. */
const INTERVAL_MS = 1_000;

/** Most points of a share, the end included. */
const MOST_POINTS = 240;

/** Most points of all shares of a job together, as far as {@link LEAST_POINTS} of each allow. */
const MOST_POINTS_OF_JOB = 24_000;
const LEAST_POINTS = 12;

/** Totals of one worker so far: bytes fetched, bytes written, retries. */
export type Totals = readonly [fetchedBytes: number, writtenBytes: number, retries: number];

/** How a share went on, without what its holder knows of it. */
export type ShareCourse = Pick<ShareTimeline, "begun" | "ended" | "points">;

/** Looks at the totals once a second, until its end or its disposal. */
export interface TimelineRecorder extends Disposable {
	/** Tells what was seen. */
	end(): ShareCourse;
}

/**
 * Begins to write down how a share goes on.
 *
 * @param read - The totals of the worker, which may count other shares before this one.
 * @param wallClock - Unix time in milliseconds. @default Date.now
 */
export function recordTimeline(
	timers: Timers,
	read: () => Totals,
	wallClock: () => number = Date.now,
): TimelineRecorder {
	const begun = wallClock();
	const startedMs = timers.now();
	const before = read();
	let points: TimePoint[] = [];
	let ticks = 0;
	let ticksPerPoint = 1;
	const look = (): TimePoint => {
		const [fetchedBytes, writtenBytes, retries] = read();
		const seconds = Math.round(timers.now() - startedMs) / 1000;
		return [seconds, fetchedBytes - before[0], writtenBytes - before[1], retries - before[2]];
	};
	const stop = timers.every(INTERVAL_MS, () => {
		if (++ticks % ticksPerPoint !== 0) return;
		points.push(look());
		if (points.length < MOST_POINTS) return;
		points = everySecond(points);
		ticksPerPoint *= 2;
	});
	return {
		end() {
			stop();
			const ended = new Date(wallClock()).toISOString();
			return { begun: new Date(begun).toISOString(), ended, points: [...points, look()] };
		},
		[Symbol.dispose]: stop,
	};
}

/**
 * Makes the time lines of a job short enough for one file, however many shares it has.
 *
 * @param shares - Of the job.
 */
export function condensePoints(points: readonly TimePoint[], shares: number): readonly TimePoint[] {
	const most = Math.max(LEAST_POINTS, Math.floor(MOST_POINTS_OF_JOB / shares));
	let rest = points.slice(0, -1);
	while (rest.length >= most) rest = everySecond(rest);
	return [...rest, ...points.slice(-1)];
}

function everySecond(points: readonly TimePoint[]): TimePoint[] {
	return points.filter((_, index) => index % 2 === 1);
}
