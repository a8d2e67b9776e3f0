import type { ExportSummary } from "../index.ts";
import { formatBytes, formatDuration, formatTable, plural } from "./format.ts";
import { firstOf, summariseNotes } from "./summarise-notes.ts";

/** Files that are listed before they are only counted. */
const SHOWN_FILES = 6;

const CONFIG: { readonly [S in ExportSummary["config"]]: string } = {
	copied: "as in the model",
	changed: "changed to say what the weights are now",
	written: "written anew from what the manifest says of it",
	none: "none: the model has none",
};

/** What an export did, or would do; no line break at the end. */
export function renderExport(summary: ExportSummary): string {
	const { dryRun, seconds, readBytes, dataBytes } = summary;
	const rate = seconds > 0 ? ` (${formatBytes(dataBytes / seconds)}/s)` : "";
	const rows = [
		["checkpoint", summary.checkpoint],
		["model", `${summary.directory}${dryRun ? " (nothing is written: --dry-run)" : ""}`],
		["of", `${summary.repo} (${summary.commit.slice(0, 7)})`],
		["recipes", recipesOf(summary)],
		[
			"tensors",
			`${plural(summary.tensors, "tensor")}, ${formatBytes(dataBytes)}: ${dtypesOf(summary)}`,
		],
		...fileRows(summary),
		["config.json", CONFIG[summary.config]],
		["copied", summary.copied.length === 0 ? "nothing" : summary.copied.join(", ")],
		...valueRows(summary),
		...nameRows(summary),
		["read", `${formatBytes(readBytes)} in ${plural(summary.requests, "read")}`],
	];
	if (!dryRun) rows.push(["time", `${formatDuration(seconds)}${rate}`]);
	return formatTable(rows);
}

function recipesOf({ recipes, family, target, prefix }: ExportSummary): string {
	const from = recipes === "manifest" ? "of the manifest" : "of the model, mapped again";
	const under = prefix === "" ? "" : `, under ${prefix}`;
	return `${from}: ${target}, family ${family}${under}`;
}

function dtypesOf({ dtypes }: ExportSummary): string {
	return Object.entries(dtypes)
		.map(([dtype, count]) => `${count} ${dtype}`)
		.join(", ");
}

function fileRows({ files, shards }: ExportSummary): string[][] {
	const how = shards === "original" ? "as in the model" : "by size";
	const rows = [["files", `${plural(files.length, "file")}, divided ${how}`]];
	for (const { path, bytes, tensors } of files.slice(0, SHOWN_FILES)) {
		rows.push(["", `${path}  ${formatBytes(bytes)}, ${plural(tensors, "tensor")}`]);
	}
	if (files.length > SHOWN_FILES) rows.push(["", `… and ${files.length - SHOWN_FILES} more`]);
	return rows;
}

/** Whatever is not bit for bit what the checkpoint holds, or the model had. */
function valueRows(summary: ExportSummary): string[][] {
	const { rounded, roundedBefore, dequantised, copies, constants } = summary;
	const rows: string[][] = [];
	for (const { from, to, tensors } of rounded) {
		rows.push(["rounded", `${plural(tensors, "tensor")} from ${from} to ${to}, once`]);
	}
	for (const { from, to, tensors } of roundedBefore) {
		const what = `${plural(tensors, "tensor")} had been rounded to ${to} when the checkpoint was made`;
		rows.push(["rounded before", `${what}, and ${tensors === 1 ? "is" : "are"} ${from} again`]);
	}
	if (dequantised > 0) {
		const weights = plural(dequantised, "weight");
		rows.push(["quantised", `${weights} of the model, written as plain numbers without scales`]);
	}
	for (const { name, kept, copy } of copies) {
		rows.push(["tied", `${name}: of ${kept}; ${copy} holds the same`]);
	}
	const changed = constants.filter((constant) => constant.changed === true);
	const same = constants.length - changed.length;
	if (changed.length > 0) {
		const names = firstOf(changed.map(({ fqn }) => fqn));
		rows.push([
			"lost",
			`${plural(changed.length, "tensor")} that the model has no place for (${names})`,
		]);
	}
	if (same > 0) {
		rows.push(["not written", `${plural(same, "tensor")} that the conversion had added`]);
	}
	return rows;
}

function nameRows({ filled, missing, leftOut }: ExportSummary): string[][] {
	const rows: string[][] = [];
	if (filled.length > 0) {
		rows.push([
			"filled in",
			`${plural(filled.length, "tensor")} of the model (${firstOf(filled)})`,
		]);
	}
	for (const line of summariseNotes(missing)) rows.push(["missing", line]);
	for (const line of summariseNotes(leftOut, "key")) rows.push(["left out", line]);
	return rows;
}
