import type { ReportShare, ReportSourceFile } from "../report-data.ts";
import { card, clippedName, h, section } from "./dom.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";
import { createRankBars } from "./rank-bars.ts";
import type { Selection } from "./selection.ts";
import { bar, barCell, type Column, table } from "./table.ts";

/** Tensors in the list of the biggest. */
const BIGGEST = 12;

/** Who gets how many bytes, and what is fetched for them. */
export function createBytesView(
	model: Model,
	selection: Selection,
	colourOf: (rank: number) => string,
): HTMLElement {
	const { head } = model;
	const perRank =
		head.holdersKnownBy === "layout" ? "Bytes per rank" : "Bytes per rank, by its files";
	const left = [
		...(head.worldSize > 0 ? [card(perRank, createRankBars(model, selection, colourOf))] : []),
		...(head.shares.length > 0 ? [sharesCard(head.shares)] : []),
		...(head.totals.entriesCut === undefined ? [] : [cutsCard(model)]),
	];
	const right = [
		biggestCard(model, selection),
		...(head.sourceFiles.length > 0 ? [sourceCard(head.sourceFiles, head.totals.fetchBytes)] : []),
	];
	return section(
		"bytes",
		"Bytes",
		"What each rank holds, what each worker does, and what is fetched for it.",
		h(
			"div",
			{ class: "cards" },
			h("div", { class: "cards one" }, ...left),
			h("div", { class: "cards one" }, ...right),
		),
	);
}

function biggestCard(model: Model, selection: Selection): HTMLElement {
	const tensors = Array.from({ length: model.tensorCount }, (_, tensor) => tensor)
		.toSorted((a, b) => model.bytesOf(b) - model.bytesOf(a) || a - b)
		.slice(0, BIGGEST);
	const most = tensors[0] === undefined ? 0 : model.bytesOf(tensors[0]);
	const items = tensors.map((tensor) => {
		const pick = h("button", { type: "button", class: "link" }, clippedName(model.nameOf(tensor)));
		pick.addEventListener("click", () => {
			selection.pick({ tensor });
			document.querySelector("#tensor-title")?.scrollIntoView({ block: "center" });
		});
		const bytes = model.bytesOf(tensor);
		return h("li", {}, pick, barCell(format.bytes(bytes), most === 0 ? 0 : bytes / most));
	});
	if (items.length === 0)
		return card("The biggest tensors", h("p", { class: "muted" }, "There are none."));
	return card("The biggest tensors", h("ol", { class: "biggest" }, ...items));
}

function sharesCard(shares: readonly ReportShare[]): HTMLElement {
	const loads = shares.map(({ fetchBytes, writeBytes }) => fetchBytes + writeBytes);
	const most = loads.reduce((max, load) => Math.max(max, load), 0);
	const mean = loads.reduce((sum, load) => sum + load, 0) / shares.length;
	const columns: Column<ReportShare>[] = [
		{
			title: "Worker",
			cell: ({ name, host }) =>
				host === undefined ? name : h("span", {}, name, h("bdi", { class: "muted" }, ` ${host}`)),
		},
		{
			title: "In and out",
			cell: (_, index) =>
				bar(format.bytes(loads[index] ?? 0), most === 0 ? 0 : (loads[index] ?? 0) / most),
		},
		{ title: "Fetched", isNumber: true, cell: ({ fetchBytes }) => format.bytes(fetchBytes) },
		{ title: "Written", isNumber: true, cell: ({ writeBytes }) => format.bytes(writeBytes) },
		{ title: "Requests", isNumber: true, cell: ({ requests }) => format.count(requests) },
		{ title: "Entries", isNumber: true, cell: ({ entries }) => format.count(entries) },
		...optionalColumns(shares),
	];
	const text =
		shares.length === 1
			? "One worker does it all."
			: `${format.plural(shares.length, "worker")}; the heaviest has ${format.percent(mean === 0 ? 0 : most / mean - 1)} more than the mean of ${format.bytes(mean)}.`;
	return card(
		"Per worker",
		h("p", { class: "muted" }, text),
		table("Bytes per worker", columns, shares),
	);
}

function optionalColumns(shares: readonly ReportShare[]): Column<ReportShare>[] {
	const optional: [keyof ReportShare, Column<ReportShare>][] = [
		["files", { title: "Files", isNumber: true, cell: ({ files = 0 }) => format.count(files) }],
		[
			"seconds",
			{ title: "Time", isNumber: true, cell: ({ seconds = 0 }) => format.duration(seconds) },
		],
		[
			"retries",
			{ title: "Retries", isNumber: true, cell: ({ retries = 0 }) => format.count(retries) },
		],
		[
			"takeovers",
			{ title: "Taken over", isNumber: true, cell: ({ takeovers = 0 }) => format.count(takeovers) },
		],
	];
	return optional.flatMap(([key, column]) => (shares[0]?.[key] === undefined ? [] : [column]));
}

function sourceCard(
	files: readonly ReportSourceFile[],
	fetchBytes: number | undefined,
): HTMLElement {
	const needed = files.reduce((sum, { neededBytes }) => sum + neededBytes, 0);
	const all = files.reduce((sum, { bytes }) => sum + bytes, 0);
	const isPerFile = files.every((file) => file.fetchBytes !== undefined);
	const columns: Column<ReportSourceFile>[] = [
		{ title: "File", cell: ({ path }) => clippedName(path) },
		{ title: "Size", isNumber: true, cell: ({ bytes }) => format.bytes(bytes) },
		{ title: "Needed", isNumber: true, cell: ({ neededBytes }) => format.bytes(neededBytes) },
		...(isPerFile
			? [
					{
						title: "Fetched",
						isNumber: true,
						cell: (file: ReportSourceFile) => format.bytes(file.fetchBytes ?? 0),
					},
					{
						title: "Over",
						isNumber: true,
						cell: ({ fetchBytes: own = 0, neededBytes }: ReportSourceFile) =>
							overText(own, neededBytes),
					},
				]
			: []),
	];
	const text = [
		`${format.bytes(needed)} of ${format.bytes(all)} in ${format.plural(files.length, "source file")} are needed.`,
		fetchBytes === undefined
			? ""
			: `${format.bytes(fetchBytes)} fetched: ${overText(fetchBytes, needed)} over.`,
	].join(" ");
	return card(
		"Over-fetch",
		h("p", { class: "muted", id: "over-fetch" }, text),
		table("Bytes per source file", columns, files),
	);
}

/** Bytes fetched beyond those that are needed: `0 B`, `1.2 MB (0.1 %)`. */
function overText(fetched: number, needed: number): string {
	const over = fetched - needed;
	if (over === 0) return "0 B";
	const sign = over < 0 ? "−" : "";
	return `${sign}${format.bytes(Math.abs(over))}${needed === 0 ? "" : ` (${sign}${format.percent(Math.abs(over) / needed)})`}`;
}

function cutsCard({ head }: Model): HTMLElement {
	const { entriesCut = 0, entriesCutForShares = 0, entries } = head.totals;
	const shards = entries - entriesCut - entriesCutForShares;
	const columns: Column<readonly [string, number]>[] = [
		{ title: "Entries", cell: ([name]) => name },
		{ title: "Number", isNumber: true, cell: ([, number]) => format.count(number) },
	];
	return card(
		"Why so many entries",
		table("Entries by reason", columns, [
			["blocks of the layout", shards],
			["more, cut to fit into memory", entriesCut],
			["more, cut to balance the workers", entriesCutForShares],
			["in all", entries],
		]),
	);
}
