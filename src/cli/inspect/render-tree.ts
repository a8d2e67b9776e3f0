import type { Dtype, ModuleNode, TreeTensor } from "../../index.ts";
import { formatBytes, formatTable, plural } from "../format.ts";
import { formatSizes } from "./tree-items.ts";

/** How a tree is shown. */
export interface TreeOptions {
	/** Levels of modules; deeper ones are only counted. @default all */
	readonly depth?: number | undefined;
	/** Width of the terminal, characters; `undefined` when nobody's terminal is written to, which leaves nothing out. */
	readonly columns?: number | undefined;
	/** Most rows. */
	readonly limit: number;
}

/** One line of the tree. */
interface Row {
	readonly name: string;
	readonly node: ModuleNode;
	/** Whether it has parts that are not shown. */
	readonly isClosed: boolean;
}

/** What is left out where a terminal is narrow. */
interface Detail {
	readonly shortDtypes: boolean;
	readonly shortChunks: boolean;
	readonly params: boolean;
	/** Most characters of a name. */
	readonly nameWidth: number;
}

const FULL: Detail = { shortDtypes: false, shortChunks: false, params: true, nameWidth: Infinity };

/** From all to as little as is worth having. */
const DETAILS: readonly Detail[] = [
	FULL,
	{ ...FULL, shortDtypes: true },
	{ ...FULL, shortDtypes: true, shortChunks: true },
	{ ...FULL, shortDtypes: true, shortChunks: true, params: false },
	{ shortDtypes: true, shortChunks: true, params: false, nameWidth: 40 },
	{ shortDtypes: true, shortChunks: true, params: false, nameWidth: 30 },
];

/** A tree of modules, a line each: parameters, bytes, and of tensors dtype, shape and chunks. No line break at the end. */
export function renderTree(root: ModuleNode, { depth, columns, limit }: TreeOptions): string {
	const rows = [...rowsOf(root, "", depth ?? Infinity)];
	const shown = rows.slice(0, limit);
	const texts = (columns === undefined ? [FULL] : DETAILS).map((detail) => tableOf(shown, detail));
	const table =
		texts.find((text) => text.split("\n").every((line) => line.length <= (columns ?? Infinity))) ??
		texts.at(-1) ??
		"";
	if (rows.length <= limit) return table;
	return `${table}\n… and ${plural(rows.length - limit, "more row")}; --depth, --module or --limit 0`;
}

function* rowsOf(parent: ModuleNode, indent: string, depth: number): Generator<Row> {
	for (const [i, node] of parent.children.entries()) {
		const isTop = indent === "" && parent.label === "";
		const isLast = i === parent.children.length - 1;
		const count = node.count > 1 ? ` (${node.count} ×)` : "";
		const name = `${isTop ? "" : `${indent}${isLast ? "└─ " : "├─ "}`}${visible(node.label)}${count}`;
		const isClosed = depth <= 1 && node.children.length > 0;
		yield { name, node, isClosed };
		if (isClosed) continue;
		// What lies below the top begins at the margin.
		const inner = isTop ? "" : `${indent}${isLast ? "   " : "│  "}`;
		yield* rowsOf({ ...node, label: node.label || "." }, inner, depth - 1);
	}
}

function tableOf(rows: readonly Row[], detail: Detail): string {
	const hasChunks = rows.some(({ node }) => (node.item?.tensor?.chunkCount ?? 0) > 0);
	const heads = ["module", "params", "size", "dtype", "shape", "chunks"];
	const cells = rows.map(({ name, node, isClosed }) => [
		shortened(name, detail.nameWidth),
		times(node, node.tensors === 0 ? "" : formatParams(node.params)),
		times(node, formatBytes(node.bytes)),
		...factsOf(node, isClosed, detail),
	]);
	const isKept = (column: number): boolean =>
		(detail.params || column !== 1) && (hasChunks || column !== 5);
	const table = [heads, ...cells].map((row) => row.filter((_, column) => isKept(column)));
	return formatTable(table, detail.params ? [1, 2] : [1]);
}

function factsOf(node: ModuleNode, isClosed: boolean, detail: Detail): string[] {
	const { item } = node;
	if (item === undefined) return ["", isClosed ? plural(node.tensors, "tensor") : "", ""];
	if (item.tensor === undefined) return ["object", "not unpickled", ""];
	const { dtype, shape } = item.tensor;
	return [
		detail.shortDtypes ? shortDtype(dtype) : dtype,
		formatSizes(shape),
		chunksOf(item.tensor, detail),
	];
}

function chunksOf({ chunks, chunkCount }: TreeTensor, { shortChunks }: Detail): string {
	return shortChunks && chunkCount > 0 ? `${chunkCount} ×` : chunks;
}

function times({ count }: ModuleNode, text: string): string {
	return count > 1 && text !== "" ? `${count} × ${text}` : text;
}

/** `bf16`, `f8_e4m3fn`, `i64`. */
function shortDtype(dtype: Dtype): string {
	return dtype
		.replace("bfloat", "bf")
		.replace("float", "f")
		.replace("uint", "u")
		.replace("int", "i");
}

const PARAM_UNITS = ["", "k", "M", "B", "T"] as const;

/** `17.2B`, `8.19k`, `960`: numbers of parameters as papers write them. */
export function formatParams(count: number): string {
	let value = count;
	let unit = 0;
	while (value >= 999.5 && unit < PARAM_UNITS.length - 1) {
		value /= 1000;
		unit++;
	}
	const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
	return `${value.toFixed(digits)}${PARAM_UNITS[unit] ?? ""}`;
}

/** The beginning and the end of a long name. */
function shortened(name: string, width: number): string {
	if (name.length <= width) return name;
	const end = Math.floor((width - 1) / 2);
	return `${name.slice(0, width - 1 - end)}…${name.slice(name.length - end)}`;
}

/** Text of a file, without what a terminal would take for a command. */
export function visible(text: string): string {
	// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
	return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => JSON.stringify(char).slice(1, -1));
}
