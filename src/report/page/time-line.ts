import type { ReportTimeline } from "../report-data.ts";

/** A time line on the common clock: seconds from when the first share was begun. */
export interface Lane {
	readonly timeline: ReportTimeline;
	readonly start: number;
	readonly end: number;
}

/** What happened in one step of time, bytes. */
export interface Step {
	readonly fetched: number;
	readonly written: number;
	readonly retries: number;
}

/** Time lines side by side. The clocks of workers may differ; what one ends before it begins counts as long as its points say. */
export function lanesOf(timelines: readonly ReportTimeline[]): readonly Lane[] {
	const begun = timelines.map((timeline) => Date.parse(timeline.begun) / 1000);
	const first = begun.reduce(
		(least, time) => (time < least ? time : least),
		Number.POSITIVE_INFINITY,
	);
	return timelines
		.map((timeline, index): Lane => {
			const time = begun[index] ?? 0;
			const start = Number.isFinite(time - first) ? time - first : 0;
			return { timeline, start, end: start + Math.max(0.001, timeline.points.at(-1)?.[0] ?? 0) };
		})
		.toSorted((a, b) => a.timeline.worker - b.timeline.worker || a.start - b.start);
}

/** When the last lane ends, seconds. */
export function endOf(lanes: readonly Lane[]): number {
	return lanes.reduce((most, { end }) => Math.max(most, end), 0.001);
}

/** What happened in each of `count` steps of `seconds` in all; bytes between two points are spread evenly. */
export function stepsOf(lanes: readonly Lane[], seconds: number, count: number): readonly Step[] {
	const steps = Array.from({ length: count }, () => ({ fetched: 0, written: 0, retries: 0 }));
	const width = seconds / count;
	for (const { timeline, start } of lanes) {
		let before: readonly [number, number, number, number] = [0, 0, 0, 0];
		for (const point of timeline.points) {
			spread(steps, width, start + before[0], start + point[0], [
				point[1] - before[1],
				point[2] - before[2],
				point[3] - before[3],
			]);
			before = point;
		}
	}
	return steps;
}

function spread(
	steps: { fetched: number; written: number; retries: number }[],
	width: number,
	from: number,
	to: number,
	[fetched, written, retries]: readonly [number, number, number],
): void {
	const length = to - from;
	const first = Math.min(steps.length - 1, Math.floor(from / width));
	const last = Math.min(steps.length - 1, Math.floor(to / width));
	for (let index = first; index <= last; index++) {
		const step = steps[index];
		if (step === undefined) continue;
		const inside = Math.min(to, (index + 1) * width) - Math.max(from, index * width);
		// The last step takes what rounding left beyond the end; a length of 0 is one moment.
		const part = length <= 0 || first === last ? 1 : Math.max(0, inside) / length;
		step.fetched += fetched * part;
		step.written += written * part;
	}
	const at = steps[last];
	if (at !== undefined) at.retries += retries;
}
