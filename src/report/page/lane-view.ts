import { h, svg } from "./dom.ts";
import * as format from "./format.ts";
import { type Lane, type Step, stepsOf } from "./time-line.ts";

/** Steps of a lane's own picture. */
const STEPS = 80;

const HEIGHT = 20;

/** One share: when it was worked on, how much came when, and what went wrong. `seconds` is the time of all shares. */
export function laneItem(lane: Lane, seconds: number): HTMLElement {
	const { share, worker, host } = lane.timeline;
	const name = h("span", { class: "lane-name" }, `share ${share} · worker ${worker}`);
	name.append(h("bdi", { class: "muted" }, ` ${host}`));
	const track = h("div", { class: "lane-track", "aria-hidden": "true" }, laneBar(lane, seconds));
	const notes = h("span", { class: "lane-notes muted" }, laneNotes(lane).join(" · "));
	return h("li", { class: "lane" }, name, track, notes);
}

function laneNotes({ timeline }: Lane): string[] {
	const { attempts, takenOver, points } = timeline;
	const [length = 0, fetched = 0, written = 0, retries = 0] = points.at(-1) ?? [];
	return [
		format.duration(length),
		`${format.bytes(fetched)} in, ${format.bytes(written)} out`,
		...(retries > 0 ? [`▲ ${format.plural(retries, "retry", "retries")}`] : []),
		...(attempts > 1 ? [`attempt ${attempts}`] : []),
		...(takenOver ? ["⇄ taken over"] : []),
	];
}

function laneBar({ timeline, start, end }: Lane, seconds: number): SVGElement {
	const own = end - start;
	const steps = stepsOf([{ timeline, start: 0, end: own }], own, STEPS);
	const most = steps.reduce((max, { fetched }) => Math.max(max, fetched), 1);
	const heightOf = ({ fetched }: Step): number => HEIGHT - (fetched / most) * (HEIGHT - 2);
	const edge = steps.map((step, i) => `V${heightOf(step).toFixed(1)}H${i + 1}`).join("");
	const bar = svg(
		"svg",
		{
			class: timeline.takenOver ? "lane-bar is-taken" : "lane-bar",
			viewBox: `0 0 ${STEPS} ${HEIGHT}`,
			preserveAspectRatio: "none",
		},
		svg("rect", { class: "lane-back", x: 0, y: 0, width: STEPS, height: HEIGHT }),
		svg("path", { class: "lane-steps", d: `M0 ${HEIGHT}${edge}V${HEIGHT}Z` }),
		...steps.flatMap(({ retries }, x) =>
			retries === 0
				? []
				: [svg("rect", { class: "lane-retry", x, y: 0, width: 1, height: HEIGHT })],
		),
	);
	bar.style.left = `${(start / seconds) * 100}%`;
	bar.style.width = `${Math.max(0.5, (own / seconds) * 100)}%`;
	return bar;
}
