import type { ReportData } from "../report-data.ts";
import { facts, h, nameText, section } from "./dom.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";

const KINDS: { readonly [K in ReportData["kind"]]: string } = {
	plan: "Plan of a conversion",
	conversion: "Finished conversion",
	checkpoint: "Checkpoint",
};

const WRITTEN: typeof KINDS = {
	plan: "To write",
	conversion: "Written",
	checkpoint: "Data files",
};

/** What this is a report of: the title, where it comes from, and the sums. */
export function createHeadView(model: Model): HTMLElement[] {
	const { head } = model;
	const { origin, kind, problems, warnings } = head;
	const title = h(
		"div",
		{ class: "title" },
		h("p", { class: "kind" }, KINDS[kind]),
		h("h1", {}, nameText(origin.model ?? origin.directory ?? "unnamed")),
	);
	return [
		title,
		...callout("problem", "What is wrong", problems),
		...callout("warning", "Warnings", warnings),
		section("overview", "Overview", "", figures(model), originFacts(model)),
	];
}

/** Sentences of one kind that are shown before they are only counted. */
const SHOWN = 20;

function callout(kind: string, title: string, sentences: readonly string[]): HTMLElement[] {
	if (sentences.length === 0) return [];
	const rest = sentences.length - SHOWN;
	const items = sentences.slice(0, SHOWN).map((text) => h("li", {}, h("bdi", {}, text)));
	if (rest > 0) items.push(h("li", {}, `… and ${format.count(rest)} more`));
	return [
		h(
			"aside",
			{ class: `callout ${kind}`, "aria-label": title },
			h("h2", {}, title),
			h("ul", {}, ...items),
		),
	];
}

function tile(id: string, title: string, value: string, more = ""): HTMLElement {
	return h(
		"div",
		{ class: "figure" },
		h("dt", {}, title),
		h("dd", { id: `figure-${id}` }, value),
		h("dd", { class: "muted" }, more === "" ? "\u00A0" : more),
	);
}

function figures(model: Model): HTMLElement {
	const { totals, files, worldSize, kind } = model.head;
	const fetched = kind === "plan" ? "To fetch" : "Fetched";
	const { fetchBytes, requests, retries = 0 } = totals;
	const tiles: HTMLElement[] = [];
	if (fetchBytes !== undefined) {
		const more = `${format.plural(requests ?? 0, "request")}${retries > 0 ? `, ${format.plural(retries, "retry", "retries")}` : ""}`;
		tiles.push(tile("fetch", fetched, format.bytes(fetchBytes), more));
	}
	tiles.push(
		tile(
			"files",
			WRITTEN[kind],
			format.bytes(totals.fileBytes),
			format.plural(files.length, "file"),
		),
		tile(
			"entries",
			"Blocks",
			format.count(totals.entries),
			`of ${format.plural(model.tensorCount, "tensor")}`,
		),
		tile("metadata", ".metadata", format.bytes(totals.metadataBytes)),
		tile("ranks", "Ranks", worldSize === 0 ? "unknown" : format.count(worldSize), meshText(model)),
	);
	return h("dl", { class: "figures" }, ...tiles);
}

function meshText({ head }: Model): string {
	const axes = (head.meshes[0]?.axes ?? []).filter(({ size }) => size > 1);
	return axes.map(({ name, size }) => `${name} ${size}`).join(" × ");
}

const SOURCES: { readonly [kind: string]: string } = {
	hub: "the Hugging Face Hub",
	directory: "a local directory",
	cache: "the Hugging Face cache",
};

function originFacts({ head }: Model): HTMLElement {
	const { origin } = head;
	const command = Object.entries(origin.command ?? {})
		.map(([key, value]) => `${key}: ${value}`)
		.join("; ");
	return facts([
		["Model", isolated(origin.model)],
		["Commit", origin.commit === "local" ? "none: a local directory" : isolated(origin.commit)],
		[
			"Read from",
			origin.sourceKind === undefined
				? undefined
				: (SOURCES[origin.sourceKind] ?? origin.sourceKind),
		],
		["Directory", isolated(origin.directory)],
		["Family", isolated(origin.family)],
		["Target", isolated(origin.target)],
		["Layout", isolated(origin.layout)],
		["Begun", time(origin.begun)],
		["Took", origin.seconds === undefined ? undefined : format.duration(origin.seconds)],
		[
			"Written by",
			origin.writtenBy === undefined ? undefined : `hf-stream-dcp ${origin.writtenBy}`,
		],
		["Plan", isolated(origin.planId)],
		["Command", command === "" ? undefined : isolated(command)],
	]);
}

function isolated(text: string | undefined): HTMLElement | undefined {
	return text === undefined ? undefined : nameText(text);
}

/** As the clock that wrote it said: `2026-11-28 03:20:06 UTC`. */
function time(text: string | undefined): string | undefined {
	return text?.replace("T", " ").replace(/(?:\.\d+)?Z$/, " UTC");
}
