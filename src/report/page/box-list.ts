import { clippedName, facts, h, nameText } from "./dom.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";
import type { Selection } from "./selection.ts";
import { createVirtualList } from "./virtual-list.ts";

/** The blocks of the tensor that is picked, one a row, and all about the one that is picked. */
export function createBoxList(
	model: Model,
	selection: Selection,
	onHover: (entry: number) => void,
): { readonly list: HTMLElement; readonly details: HTMLElement } {
	const details = h("div", { class: "box-details" });
	const rows = createVirtualList({
		id: "box",
		label: "Blocks of the tensor",
		rowHeight: 30,
		empty: "No blocks.",
		onHover,
		onPick: (entry) => selection.pick({ entry }),
		render: (row, entry) => fillRow(row, model, selection, entry),
	});
	selection.onChange(({ tensor, entry }, before) => {
		if (tensor === undefined) return;
		if (tensor !== before.tensor) rows.element.scrollTop = 0;
		rows.update(model.entryCountOf(tensor), entry ?? -1);
		if (entry !== undefined && entry !== before.entry) rows.reveal(entry);
		details.replaceChildren(entry === undefined ? hintOf() : entryFacts(model, tensor, entry));
	});
	const head = h(
		"div",
		{ class: "row-head box-row", "aria-hidden": "true" },
		...["block", "held by", "file", "offset", "data"].map((text) => h("span", {}, text)),
	);
	return { list: h("div", { class: "table-list" }, head, rows.element), details };
}

function hintOf(): HTMLElement {
	return h(
		"p",
		{ class: "muted" },
		"Pick a block in the picture or in the list to see where it lies.",
	);
}

function fillRow(row: HTMLElement, model: Model, selection: Selection, entry: number): void {
	const { tensor = 0, rank } = selection.picked;
	const { box, file, offset, holders } = model.entryOf(tensor, entry);
	const isHeld = rank !== undefined && model.holds(holders, rank);
	row.classList.add("box-row");
	row.classList.toggle("is-held", isHeld);
	row.append(
		h("span", { class: "mono" }, format.box(box.offset, box.size)),
		h("span", {}, `${isHeld ? "● " : ""}${format.ranks(model.rangesOf(holders), 3)}`),
		clippedName(model.head.files[file]?.name ?? ""),
		h("span", { class: "number" }, format.count(offset)),
		h("span", { class: "number" }, format.bytes(model.entryBytesOf(tensor, entry))),
	);
}

function entryFacts(model: Model, tensor: number, entry: number): HTMLElement {
	const { box, file, offset, length, holders } = model.entryOf(tensor, entry);
	const bytes = model.entryBytesOf(tensor, entry);
	const all = model.bytesOf(tensor);
	const list = facts([
		["Block", `${format.count(entry + 1)} of ${format.count(model.entryCountOf(tensor))}`],
		["Box", format.box(box.offset, box.size)],
		["Held by", format.ranks(model.rangesOf(holders), 40)],
		["File", nameText(model.head.files[file]?.name ?? "")],
		["Offset", format.count(offset)],
		["Entry", format.exactBytes(length)],
		["Data", format.exactBytes(bytes)],
		["Of the tensor", format.percent(all === 0 ? 0 : bytes / all)],
	]);
	list.id = "box-facts";
	return list;
}
