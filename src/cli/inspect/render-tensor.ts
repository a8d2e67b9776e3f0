import type {
	InspectedSource,
	InspectedTensor,
	MeasuredTensor,
	ReadCounters,
	StoredPiece,
	TensorStatistics,
} from "../../index.ts";
import { formatBytes, formatCount, formatTable, plural } from "../format.ts";
import { torchText } from "../torch-text.ts";
import { visible } from "./render-tree.ts";
import { sideBySide } from "./side-by-side.ts";
import { formatSizes } from "./tree-items.ts";

/** How a tensor is shown. */
export interface TensorTextOptions {
	/** Digits of values after the point. */
	readonly precision: number;
	/** Characters of a line. */
	readonly width: number;
	/** Most rows of a table. */
	readonly limit: number;
}

/** A tensor, its places, statistics and values; no line break at the end. */
export function renderTensor(tensor: InspectedTensor, options: TensorTextOptions): string {
	const { values, source } = tensor;
	const sections = [titleOf(tensor), placesOf(tensor, options)];
	if (source === undefined) {
		if (values.statistics !== undefined) sections.push(statisticsText([values.statistics]));
		sections.push(torchText(tensor.dtype, values.shown, options));
		sections.push(readText(values.read, tensor.kind));
	} else sections.push(...comparedSections(tensor, source, options));
	return sections.join("\n\n");
}

function titleOf({
	target,
	commit,
	name,
	askedFor,
	dtype,
	shape,
	block,
	chunk,
}: InspectedTensor): string {
	const at = commit === undefined || commit === "local" ? "" : ` @ ${commit}`;
	const lines = [`${visible(name)}  ${dtype} ${formatSizes(shape)}`, `in ${target}${at}`];
	if (askedFor !== undefined) lines.push(`made of ${visible(askedFor)} alone`);
	const isWhole = block.box.size.join() === shape.join() && block.shape.length === shape.length;
	if (chunk !== undefined) lines.push(`chunk ${chunk} alone: ${blockText(block.box)}`);
	else if (!isWhole) lines.push(`of it ${blockText(block.box)}, ${formatSizes(block.shape)}`);
	return lines.join("\n");
}

function blockText({ offset, size }: StoredPiece["box"]): string {
	return `[${offset.map((start, axis) => `${start}:${start + (size[axis] ?? 0)}`).join(", ")}]`;
}

function placesOf({ stored, kind }: InspectedTensor, { limit }: TensorTextOptions): string {
	if (stored.length === 0) return "no element is stored";
	if (kind !== "checkpoint") return stored.map(modelPlace).join("\n");
	const rows = stored
		.slice(0, limit)
		.map(({ chunk, box, file, offset, dataBegin, dataEnd }) => [
			String(chunk),
			blockText(box),
			visible(file),
			String(offset),
			`${dataBegin}–${dataEnd}`,
			formatBytes(dataEnd - dataBegin),
		]);
	const heads = ["chunk", "block", "file", "entry at", "data", "size"];
	const table = formatTable([heads, ...rows], [0, 3, 5]);
	const more = stored.length - rows.length;
	return more > 0 ? `${table}\n… and ${plural(more, "more chunk")}; --limit 0 shows all` : table;
}

function modelPlace({ file, dataBegin, dataEnd }: StoredPiece): string {
	return `${visible(file)}, bytes ${dataBegin}–${dataEnd} (${formatBytes(dataEnd - dataBegin)})`;
}

/** One column for each. */
function statisticsText(all: readonly TensorStatistics[], titles: readonly string[] = []): string {
	const row = (name: string, of: (one: TensorStatistics) => string): string[] => [
		name,
		...all.map(of),
	];
	const rows = [
		...(titles.length > 0 ? [["", ...titles]] : []),
		row("elements", ({ elements }) => formatCount(elements)),
		row("min", ({ min }) => numberText(min)),
		row("max", ({ max }) => numberText(max)),
		row("mean", ({ mean }) => numberText(mean)),
		row("std", ({ std }) => numberText(std)),
		row("NaN", ({ nan }) => formatCount(nan)),
		row("Inf", ({ inf }) => formatCount(inf)),
		row("zeros", ({ zeros }) => formatCount(zeros)),
	];
	const table = formatTable(
		rows,
		all.map((_, column) => column + 1),
	);
	return [table, ...notesOf(all)].join("\n");
}

/** Digits of statistics. */
const SIGNIFICANT = 7;

function numberText(value: number | bigint | undefined): string {
	if (value === undefined) return "–";
	if (typeof value === "bigint" || Number.isInteger(value)) return String(value);
	return Number.isFinite(value) ? String(Number(value.toPrecision(SIGNIFICANT))) : String(value);
}

function notesOf(all: readonly TensorStatistics[]): string[] {
	const notes: string[] = [];
	if (all.some(({ nan, elements }) => nan > 0 && nan === elements))
		notes.push("every element is NaN");
	else if (all.some(({ nan }) => nan > 0)) notes.push("min and max leave NaN out");
	if (all.some(({ nan, inf }) => nan + inf > 0))
		notes.push("mean and std are of the finite elements");
	return notes.length > 0 ? [`(${notes.join("; ")})`] : [];
}

function readText({ neededBytes, readBytes, requests }: ReadCounters, kind: string): string {
	const from = kind === "hub" ? "from the Hub" : "from this machine";
	const gaps = readBytes > neededBytes ? `, ${formatBytes(neededBytes)} of it needed` : "";
	return `read ${formatBytes(readBytes)} ${from} in ${plural(requests, "request")}${gaps}`;
}

function comparedSections(
	{ dtype, values, stored, block }: InspectedTensor,
	source: InspectedSource,
	options: TensorTextOptions,
): string[] {
	const titles = ["checkpoint", "source"] as const;
	const text = (one: MeasuredTensor, width: number): string =>
		torchText(dtype, one.shown, { ...options, width });
	const half = Math.floor((options.width - 3) / 2);
	const { repo, commit, comparison } = source;
	const at = commit === "local" ? "" : ` @ ${commit}`;
	const from = source.stored.map((piece) => `  ${visible(piece.name)}: ${modelPlace(piece)}`);
	const shown = from.slice(0, options.limit);
	if (from.length > shown.length) {
		shown.push(`  … and ${plural(from.length - shown.length, "more tensor")}; --limit 0 shows all`);
	}
	const both = [values.statistics, source.values.statistics].flatMap((one) => one ?? []);
	const elements = block.shape.reduce((product, size) => product * size, 1);
	return [
		[`source ${repo}${at}, made again of`, ...shown].join("\n"),
		verdict(comparison, elements),
		statisticsText(both, titles),
		sideBySide(titles, [text(values, half), text(source.values, half)], options.width),
		[
			`checkpoint: ${readText(values.read, "checkpoint")}, ${plural(stored.length, "chunk")}`,
			`source: ${readText(source.values.read, source.kind)}`,
		].join("\n"),
	];
}

function verdict(
	{ different, first, largest }: InspectedSource["comparison"],
	elements: number,
): string {
	if (different === 0) return `bit for bit equal: all ${plural(elements, "element")}`;
	const most = largest === undefined ? "" : `; the largest distance is ${numberText(largest)}`;
	return `${formatCount(different)} of ${plural(elements, "element")} differ, the first at ${formatSizes(first ?? [])}${most}`;
}
