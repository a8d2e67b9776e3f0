import { createBoxList } from "./box-list.ts";
import { facts, h, section } from "./dom.ts";
import * as format from "./format.ts";
import { createMeshView } from "./mesh-view.ts";
import type { Model } from "./model.ts";
import { createRankPanel } from "./rank-panel.ts";
import type { Selection } from "./selection.ts";
import { createTensorList } from "./tensor-list.ts";
import { createTensorPicture } from "./tensor-picture.ts";

/** The mesh and who holds what: tensors on one side, ranks and blocks on the other, each lighting up what belongs to it. */
export function createHoldersView(
	model: Model,
	selection: Selection,
	colourOf: (rank: number) => string,
): HTMLElement {
	const isByFile = model.head.holdersKnownBy === "files";
	const intro = isByFile
		? "Pick a tensor to see its blocks, or a rank to see what its files hold."
		: "Pick a tensor to see its blocks and who holds them, or a rank to see what it owns.";
	const picture = createTensorPicture(model, selection, colourOf);
	const boxes = createBoxList(model, selection, picture.point);
	const title = h("h3", { id: "tensor-title" }, "Tensor");
	const about = h("div", { class: "tensor-about" });
	selection.onChange(({ tensor }, before) => {
		if (tensor === undefined || tensor === before.tensor) return;
		title.replaceChildren(h("bdi", { class: "name" }, model.nameOf(tensor)));
		about.replaceChildren(tensorFacts(model, tensor));
	});
	const mesh =
		model.head.worldSize === 0
			? h("p", { class: "empty" }, "The names of the data files name no rank.")
			: h(
					"div",
					{ class: "mesh-columns" },
					createMeshView(model, selection, colourOf),
					createRankPanel(model, selection),
				);
	return section(
		"holders",
		"Who holds what",
		intro,
		h(
			"div",
			{ class: "holders" },
			createTensorList(model, selection),
			h("div", { class: "card mesh-card" }, h("h3", {}, isByFile ? "Ranks" : "Mesh"), mesh),
			h(
				"div",
				{ class: "card tensor-card" },
				title,
				about,
				h("div", { class: "tensor-columns" }, picture.element, boxes.details),
				boxes.list,
			),
		),
		announcer(model, selection),
	);
}

function tensorFacts(model: Model, tensor: number): HTMLElement {
	const { dtype, shape, holders } = model.patternOf(tensor);
	const list = facts([
		["Dtype", dtype],
		["Shape", format.shape(shape)],
		["Bytes", format.exactBytes(model.bytesOf(tensor))],
		["Blocks", format.count(holders.length)],
	]);
	list.id = "tensor-facts";
	return list;
}

/** Says what was picked to those who do not see it. */
function announcer(model: Model, selection: Selection): HTMLElement {
	const status = h("p", { class: "visually-hidden", role: "status", id: "picked" });
	selection.onChange(({ tensor, entry, rank }) => {
		const parts: string[] = [];
		if (tensor !== undefined) {
			parts.push(
				`${model.nameOf(tensor)}: ${format.plural(model.entryCountOf(tensor), "block")}, ${format.bytes(model.bytesOf(tensor))}`,
			);
		}
		if (tensor !== undefined && entry !== undefined) {
			parts.push(
				`block ${entry + 1}, held by ${format.ranks(model.rangesOf(model.entryOf(tensor, entry).holders))}`,
			);
		}
		if (rank !== undefined) {
			const holding = model.holdingOf(rank);
			const own =
				tensor === undefined ? "" : `, ${format.bytes(holding.bytesOf(tensor))} of this tensor`;
			parts.push(`rank ${rank} holds ${format.bytes(holding.bytes)}${own}`);
		}
		status.textContent = `${parts.join(". ")}.`;
	});
	return status;
}
