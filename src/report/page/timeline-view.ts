import { card, facts, h, section, svg } from "./dom.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";
import { endOf, type Lane, lanesOf, type Step, stepsOf } from "./time-line.ts";

/** Steps that the time is divided into. */
const STEPS = 160;

/** Shares that are drawn before they are only counted. */
const SHOWN = 128;

const WIDTH = 1000;
const HEIGHT = 160;

/** How a finished conversion went on; or why that is not known. */
export function createTimelineView({ head }: Model): HTMLElement {
	if (head.timelines.length === 0) {
		const why =
			head.kind === "plan"
				? "Nothing has run yet: this is a plan."
				: head.kind === "checkpoint"
					? "Not recorded: this directory has no manifest."
					: "Not recorded: the version that wrote this checkpoint kept no time lines.";
		return section("timeline", "Time line", "", h("p", { class: "empty" }, why));
	}
	const lanes = lanesOf(head.timelines);
	const seconds = endOf(lanes);
	const { retries = 0, takeovers = 0, fetchBytes = 0 } = head.totals;
	const shown = lanes.slice(0, SHOWN);
	const rest = lanes.length - shown.length;
	return section(
		"timeline",
		"Time line",
		"Of each share, the attempt that finished it.",
		h(
			"div",
			{ class: "cards one" },
			card(
				"Throughput",
				facts([
					["Time", format.duration(head.origin.seconds ?? seconds)],
					["Mean", `${format.bytes(fetchBytes / seconds)}/s fetched`],
					["Retries", format.count(retries)],
					["Taken over", format.plural(takeovers, "share")],
				]),
				throughput(stepsOf(lanes, seconds, STEPS), seconds),
			),
			card(
				"Shares",
				h("ul", { class: "lanes", tabindex: 0 }, ...shown.map((lane) => laneItem(lane, seconds))),
				...(rest > 0
					? [h("p", { class: "muted" }, `… and ${format.plural(rest, "more share")}`)]
					: []),
			),
		),
	);
}

function throughput(steps: readonly Step[], seconds: number): HTMLElement {
	const width = seconds / steps.length;
	const most = steps.reduce((max, { fetched, written }) => Math.max(max, fetched, written), 1);
	const x = (index: number): number => (index / (steps.length - 1)) * WIDTH;
	const y = (bytes: number): number => HEIGHT - (bytes / most) * (HEIGHT - 8);
	const line = (of: (step: Step) => number): string =>
		steps
			.map((step, i) => `${i === 0 ? "M" : "L"}${x(i).toFixed(1)} ${y(of(step)).toFixed(1)}`)
			.join("");
	const fetched = line((step) => step.fetched);
	const peak = `${format.bytes(most / width)}/s`;
	const chart = svg(
		"svg",
		{
			class: "chart",
			viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
			preserveAspectRatio: "none",
			role: "img",
			"aria-label": `Bytes per second over ${format.duration(seconds)}, at most ${peak}`,
		},
		svg("path", { class: "chart-area", d: `${fetched}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` }),
		svg("path", { class: "chart-fetched", d: fetched }),
		svg("path", { class: "chart-written", d: line((step) => step.written) }),
		...retryMarks(steps, x),
	);
	return h(
		"div",
		{ class: "chart-frame" },
		h(
			"p",
			{ class: "legend muted" },
			h("span", { class: "key key-fetched" }, "fetched"),
			h("span", { class: "key key-written" }, "written (dashed)"),
			h("span", { class: "key key-retry" }, "retries"),
			h("span", { class: "legend-end" }, `peak ${peak}`),
		),
		chart,
		h(
			"p",
			{ class: "axis-ends muted", "aria-hidden": "true" },
			h("span", {}, "0 s"),
			h("span", {}, format.duration(seconds)),
		),
	);
}

function retryMarks(steps: readonly Step[], x: (index: number) => number): SVGElement[] {
	return steps.flatMap(({ retries }, index) =>
		retries === 0
			? []
			: [svg("line", { class: "chart-retry", x1: x(index), x2: x(index), y1: 0, y2: 14 })],
	);
}

/** Steps of a lane's own picture. */
const LANE_STEPS = 80;

function laneItem({ timeline, start, end }: Lane, seconds: number): HTMLElement {
	const { share, worker, host, attempts, takenOver, points } = timeline;
	const [length = 0, fetched = 0, written = 0, retries = 0] = points.at(-1) ?? [];
	const steps = stepsOf(
		[{ timeline, start: 0, end: end - start }],
		Math.max(0.001, end - start),
		LANE_STEPS,
	);
	const most = steps.reduce((max, step) => Math.max(max, step.fetched), 1);
	const track = h("div", { class: "lane-track", "aria-hidden": "true" });
	const bar = svg(
		"svg",
		{
			class: takenOver ? "lane-bar is-taken" : "lane-bar",
			viewBox: `0 0 ${LANE_STEPS} 20`,
			preserveAspectRatio: "none",
		},
		svg("rect", { class: "lane-back", x: 0, y: 0, width: LANE_STEPS, height: 20 }),
		...steps.map(({ fetched: own, retries: failed }, index) => {
			const height = (own / most) * 18;
			return svg("rect", {
				class: failed > 0 ? "lane-step is-retry" : "lane-step",
				x: index,
				y: 20 - height,
				width: 1.05,
				height: failed > 0 ? Math.max(height, 4) : height,
			});
		}),
	);
	bar.style.left = `${(start / seconds) * 100}%`;
	bar.style.width = `${Math.max(0.5, ((end - start) / seconds) * 100)}%`;
	track.append(bar);
	const notes = [
		format.duration(length),
		`${format.bytes(fetched)} in, ${format.bytes(written)} out`,
		...(retries > 0 ? [`▲ ${format.plural(retries, "retry", "retries")}`] : []),
		...(attempts > 1 ? [`attempt ${attempts}`] : []),
		...(takenOver ? ["⇄ taken over"] : []),
	];
	return h(
		"li",
		{ class: "lane" },
		h(
			"span",
			{ class: "lane-name" },
			`share ${share} · worker ${worker}`,
			h("bdi", { class: "muted" }, ` ${host}`),
		),
		track,
		h("span", { class: "lane-notes muted" }, notes.join(" · ")),
	);
}
