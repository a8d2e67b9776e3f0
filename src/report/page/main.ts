import type { PackedReport } from "../packed.ts";
import { createBytesView } from "./bytes-view.ts";
import { rankColours } from "./colours.ts";
import { h, section } from "./dom.ts";
import { createHeadView } from "./head-view.ts";
import { createHoldersView } from "./holders-view.ts";
import { createModel, type Model } from "./model.ts";
import { createNamesView } from "./names-view.ts";
import { createSelection } from "./selection.ts";
import { createThemeChoice } from "./theme.ts";
import { createTimelineView } from "./timeline-view.ts";

/** One block of the page's data. */
function readData(id: string): unknown {
	const text = document.querySelector(`#data-${id}`)?.textContent ?? "null";
	return JSON.parse(text) as unknown;
}

const LINKS = [
	["overview", "Overview"],
	["holders", "Who holds what"],
	["bytes", "Bytes"],
	["timeline", "Time line"],
	["names", "Names"],
] as const;

function start(): void {
	const head = readData("head") as PackedReport["head"];
	const tensors = readData("tensors") as PackedReport["tensors"];
	const model = createModel(head, tensors, () => readData("offsets") as PackedReport["offsets"]);
	const selection = createSelection();
	const colourOf = rankColours(head.worldSize, head.meshes);
	const main = h(
		"main",
		{ id: "main" },
		...createHeadView(model),
		createHoldersView(model, selection, colourOf),
		createBytesView(model, selection, colourOf),
		createTimelineView(model),
		createNamesView(model),
		unknownView(model),
	);
	document.body.append(
		h("a", { class: "skip", href: "#main" }, "Skip to the report"),
		banner(),
		main,
		h(
			"footer",
			{ class: "footer muted" },
			`Made by hf-stream-dcp ${head.tool}. This page needs no network.`,
		),
	);
	const largest = largestOf(model);
	if (largest >= 0) selection.pick({ tensor: largest });
	requestAnimationFrame(() => setTimeout(markReady));
}

/** After the first frame, with its pictures, was handed to the screen. */
function markReady(): void {
	document.documentElement.dataset["state"] = "ready";
	performance.mark("report-ready");
}

function banner(): HTMLElement {
	const links = LINKS.map(([id, text]) => h("li", {}, h("a", { href: `#${id}` }, text)));
	return h(
		"header",
		{ class: "banner" },
		h("p", { class: "brand" }, "hf-stream-dcp"),
		h("nav", { "aria-label": "Sections" }, h("ul", {}, ...links)),
		createThemeChoice(),
	);
}

function unknownView({ head }: Model): HTMLElement {
	const items = head.unknown.map((text) => h("li", {}, text));
	return section(
		"unknown",
		"What this report cannot say",
		"",
		h("ul", { class: "plain" }, ...items),
	);
}

/** The tensor that a reader sees first; −1 when there is none. */
function largestOf(model: Model): number {
	let largest = model.tensorCount === 0 ? -1 : 0;
	for (let tensor = 1; tensor < model.tensorCount; tensor++) {
		if (model.bytesOf(tensor) > model.bytesOf(largest)) largest = tensor;
	}
	return largest;
}

try {
	start();
} catch (error) {
	document.documentElement.dataset["state"] = "failed";
	document.body.replaceChildren(
		h("p", { class: "failed" }, `This report cannot be drawn: ${String(error)}`),
	);
	throw error;
}
