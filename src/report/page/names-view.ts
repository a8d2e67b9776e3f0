import type { SourceNote } from "../../core/recipe.ts";
import { h, nameText, section } from "./dom.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";

/** Names of one reason that are listed at a time. */
const SHOWN = 200;

/** Names that are not simply stored once, each with the reason. */
export function createNamesView({ head }: Model): HTMLElement {
	const groups = [
		notesOf("Dropped", "left out by a rule", head.dropped),
		notesOf("Tied", "one source tensor under more than one key", head.tied),
		notesOf("Dequantised", "stored with their scales multiplied in", head.dequantised),
		notesOf(
			"Added",
			"in no source",
			plain(head.synthesised, "written as the trainer expects them"),
		),
		notesOf("Objects", "no tensors", plain(head.objects, "pickled Python objects, not read")),
	].flat();
	const isSilent = head.kind === "checkpoint";
	const content =
		groups.length > 0
			? groups
			: [
					h(
						"p",
						{ class: "empty" },
						isSilent
							? "Not recorded in this directory."
							: "Every source tensor is stored once, under one key.",
					),
				];
	return section(
		"names",
		"Names",
		"What was not simply taken over, and why.",
		h("div", { class: "groups" }, ...content),
	);
}

function plain(names: readonly string[], reason: string): readonly SourceNote[] {
	return names.map((name) => ({ name, reason }));
}

function notesOf(title: string, what: string, notes: readonly SourceNote[]): HTMLElement[] {
	if (notes.length === 0) return [];
	const byReason = new Map<string, string[]>();
	for (const { name, reason } of notes) {
		const names = byReason.get(reason);
		if (names === undefined) byReason.set(reason, [name]);
		else names.push(name);
	}
	return [
		h(
			"div",
			{ class: "card" },
			h(
				"h3",
				{},
				`${title}: ${format.count(notes.length)}`,
				h("span", { class: "muted light" }, ` ${what}`),
			),
			...[...byReason].map(([reason, names]) => reasonDetails(reason, names)),
		),
	];
}

function reasonDetails(reason: string, names: readonly string[]): HTMLElement {
	const list = h("ul", { class: "names", tabindex: 0 });
	const details = h(
		"details",
		{},
		h(
			"summary",
			{},
			h("bdi", {}, reason),
			h("span", { class: "muted" }, ` ${format.plural(names.length, "name")}`),
		),
		list,
	);
	// Written only when somebody looks: there may be thousands.
	details.addEventListener("toggle", () => {
		if (!details.open || list.childElementCount > 0) return;
		list.append(...names.slice(0, SHOWN).map((name) => h("li", {}, nameText(name))));
		const rest = names.length - SHOWN;
		if (rest > 0)
			list.append(
				h("li", { class: "muted" }, `… and ${format.count(rest)} more; --json lists all`),
			);
	});
	return details;
}
