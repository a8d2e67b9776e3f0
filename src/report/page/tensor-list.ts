import { select } from "./controls.ts";
import { clippedName, h } from "./dom.ts";
import * as format from "./format.ts";
import type { Model, RankHolding } from "./model.ts";
import type { Selection } from "./selection.ts";
import { createVirtualList } from "./virtual-list.ts";

/** Orders of the list: what they are called, and how tensors are put into them. */
const ORDERS: readonly (readonly [
	name: string,
	sort: (model: Model, tensors: readonly number[]) => readonly number[],
])[] = [
	["as stored", (_, tensors) => tensors],
	[
		"by size",
		(model, tensors) => tensors.toSorted((a, b) => model.bytesOf(b) - model.bytesOf(a) || a - b),
	],
	["by name", byName],
	[
		"by blocks",
		(model, tensors) =>
			tensors.toSorted((a, b) => model.entryCountOf(b) - model.entryCountOf(a) || a - b),
	],
];

function byName(model: Model, tensors: readonly number[]): readonly number[] {
	const collator = new Intl.Collator("en", { numeric: true });
	return tensors.toSorted((a, b) => collator.compare(model.nameOf(a), model.nameOf(b)));
}

/** All tensors, to search, to sort, and to pick one of. */
export function createTensorList(model: Model, selection: Selection): HTMLElement {
	const { search, only, onlyText, onlyLabel, found } = createFields();
	let order = 0;
	let shown: readonly number[] = [];
	let places = new Map<number, number>();
	let holding: RankHolding | undefined;
	const rows = createVirtualList({
		id: "tensor",
		label: "Tensors",
		rowHeight: 46,
		empty: "No tensor has such a name.",
		onPick: (place) => selection.pick({ tensor: shown[place] }),
		render: (row, place) => fillRow(row, model, shown[place] ?? 0, holding),
	});
	const placeOf = (tensor: number | undefined): number =>
		tensor === undefined ? -1 : (places.get(tensor) ?? -1);
	const update = (): void => rows.update(shown.length, placeOf(selection.picked.tensor));
	const filter = (): void => {
		const matching = matchingTensors(model, search.value, only.checked ? holding : undefined);
		shown = ORDERS[order]?.[1](model, matching) ?? matching;
		places = new Map(shown.map((tensor, place) => [tensor, place]));
		found.textContent = `${format.count(shown.length)} of ${format.plural(model.tensorCount, "tensor")}`;
		rows.element.scrollTop = 0;
		update();
	};
	search.addEventListener("input", filter);
	search.addEventListener("keydown", (event) => {
		if (event.key !== "ArrowDown") return;
		event.preventDefault();
		rows.element.focus();
		if (shown.length > 0) selection.pick({ tensor: shown[0] });
	});
	only.addEventListener("change", filter);
	selection.onChange(({ tensor, rank }, before) => {
		if (rank !== before.rank) {
			holding = rank === undefined ? undefined : model.holdingOf(rank);
			onlyLabel.hidden = rank === undefined;
			onlyText.textContent = `only what rank ${rank ?? ""} holds`;
			if (only.checked) filter();
		}
		update();
		if (tensor !== before.tensor && placeOf(tensor) >= 0) rows.reveal(placeOf(tensor));
	});
	const orders = select(
		"Order",
		ORDERS.map(([name]) => name),
		0,
		(index) => {
			order = index;
			filter();
		},
	);
	filter();
	const searchLabel = h("label", { class: "control search" }, h("span", {}, "Search"), search);
	const controls = h("div", { class: "controls" }, orders, onlyLabel);
	const title = h("h3", {}, "Tensors");
	return h("div", { class: "card tensor-list" }, title, searchLabel, controls, found, rows.element);
}

function createFields(): {
	readonly search: HTMLInputElement;
	readonly only: HTMLInputElement;
	readonly onlyText: HTMLElement;
	readonly onlyLabel: HTMLElement;
	readonly found: HTMLElement;
} {
	const search = h("input", {
		type: "search",
		placeholder: "e.g. layers.3 wq",
		autocomplete: "off",
		spellcheck: "false",
	});
	const only = h("input", { type: "checkbox" });
	const onlyText = h("span");
	const onlyLabel = h("label", { class: "control check", hidden: true }, only, onlyText);
	const found = h("p", { class: "muted found", role: "status" });
	return { search, only, onlyText, onlyLabel, found };
}

/** Tensors whose names have all words of `text`, and of which a rank holds something. */
function matchingTensors(
	model: Model,
	text: string,
	holding: RankHolding | undefined,
): readonly number[] {
	const words = text
		.toLowerCase()
		.split(/\s+/)
		.filter((word) => word !== "");
	const matching: number[] = [];
	for (let tensor = 0; tensor < model.tensorCount; tensor++) {
		if (holding !== undefined && holding.entriesOf(tensor) === 0) continue;
		const name = words.length === 0 ? "" : model.nameOf(tensor).toLowerCase();
		if (words.every((word) => name.includes(word))) matching.push(tensor);
	}
	return matching;
}

function fillRow(
	row: HTMLElement,
	model: Model,
	tensor: number,
	holding: RankHolding | undefined,
): void {
	const { dtype, shape, holders } = model.patternOf(tensor);
	const held = holding?.bytesOf(tensor) ?? 0;
	const bytes = format.bytes(model.bytesOf(tensor));
	row.classList.add("tensor-row");
	row.append(
		clippedName(model.nameOf(tensor)),
		h(
			"span",
			{ class: "meta" },
			h("span", {}, `${dtype} ${format.shape(shape)}`),
			held > 0
				? h("span", { class: "held" }, `● ${format.bytes(held)} / ${bytes}`)
				: h("span", {}, `${format.plural(holders.length, "block")} · ${bytes}`),
		),
	);
}
