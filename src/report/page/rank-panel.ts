import { button } from "./controls.ts";
import { clippedName, facts, h } from "./dom.ts";
import * as format from "./format.ts";
import { coordinatesOf } from "./mesh-grid.ts";
import type { Model } from "./model.ts";
import type { Selection } from "./selection.ts";

/** Files of a rank that are listed before they are only counted. */
const SHOWN_FILES = 12;

/** What the rank that is picked holds, and a field to pick one by its number. */
export function createRankPanel(model: Model, selection: Selection): HTMLElement {
	const { worldSize } = model.head;
	const input = h("input", {
		type: "number",
		min: 0,
		max: Math.max(0, worldSize - 1),
		step: 1,
		inputmode: "numeric",
	});
	const clear = button("None", () => selection.pick({ rank: undefined }));
	const details = h("div", { class: "rank-details" });
	input.addEventListener("change", () => {
		const rank = input.valueAsNumber;
		const isRank = Number.isInteger(rank) && rank >= 0 && rank < worldSize;
		selection.pick({ rank: isRank ? rank : undefined });
	});
	const show = (rank: number | undefined): void => {
		input.value = rank === undefined ? "" : String(rank);
		clear.disabled = rank === undefined;
		details.replaceChildren(...(rank === undefined ? overview(model) : rankDetails(model, rank)));
	};
	selection.onChange(({ rank }, before) => {
		if (rank !== before.rank) show(rank);
	});
	show(undefined);
	return h(
		"div",
		{ class: "rank-panel" },
		h(
			"div",
			{ class: "controls" },
			h("label", { class: "control" }, h("span", {}, "Rank"), input),
			clear,
		),
		details,
	);
}

function overview({ head, rankBytes }: Model): HTMLElement[] {
	const mean = rankBytes.reduce((sum, bytes) => sum + bytes, 0) / Math.max(1, rankBytes.length);
	return [
		h("p", { class: "muted" }, "Pick a rank in the mesh to see what it owns."),
		facts([
			["Ranks", format.count(head.worldSize)],
			["Mean per rank", head.worldSize === 0 ? undefined : format.exactBytes(Math.round(mean))],
		]),
	];
}

function rankDetails(model: Model, rank: number): HTMLElement[] {
	const { meshes, files, totals } = model.head;
	const holding = model.holdingOf(rank);
	const own = files.filter((file) => file.rank === rank);
	const ownBytes = own.reduce((sum, { bytes }) => sum + bytes, 0);
	const list = facts([
		...meshes.map(({ name, axes }) => {
			const place = coordinatesOf({ name, axes }, rank);
			const text = axes
				.flatMap((axis, index) => (axis.size > 1 ? [`${axis.name} ${place[index] ?? 0}`] : []))
				.join(", ");
			return [name === "experts" ? "Among experts" : "Place", text] as const;
		}),
		["Holds", format.exactBytes(holding.bytes)],
		["Of the model", format.percent(totals.dataBytes === 0 ? 0 : holding.bytes / totals.dataBytes)],
		["Blocks", format.count(holding.entries)],
		["Tensors", `${format.count(holding.tensors)} of ${format.count(model.tensorCount)}`],
		[
			"Its files",
			own.length === 0
				? "none: others store what it holds"
				: `${format.count(own.length)}, ${format.exactBytes(ownBytes)}`,
		],
	]);
	list.id = "rank-facts";
	const names = own
		.slice(0, SHOWN_FILES)
		.map(({ name, bytes }) =>
			h("li", {}, clippedName(name), h("span", { class: "number muted" }, format.bytes(bytes))),
		);
	const rest = own.length - names.length;
	if (rest > 0)
		names.push(h("li", { class: "muted" }, `… and ${format.plural(rest, "more file")}`));
	return names.length === 0
		? [list]
		: [list, h("ul", { class: "file-list", tabindex: 0 }, ...names)];
}
