import { card, facts, h, section, svg } from "./dom.ts";
import { laneItem } from "./lane-view.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";
import { endOf, lanesOf, type Step, stepsOf } from "./time-line.ts";

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
					["From begin to commit", format.duration(head.origin.seconds ?? seconds)],
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
