import type { LintFinding, LintReport, LoadCosts, Spread, TensorCost } from "../index.ts";
import { formatBytes, formatCount, formatTable, plural } from "./format.ts";

/** Tensors of one rank that are shown. */
const SHOWN_TENSORS = 20;

const KEYS: { readonly [K in NonNullable<LintReport["trainer"]>["keys"]]: string } = {
	manifest: "keys as its manifest says",
	model: "keys of the model",
	like: "keys of the checkpoint that it is compared with",
	layout: "keys of the layout files",
	checkpoint: "keys taken from the checkpoint itself",
};

/** What lint found, for people; no line break at the end. */
export function renderLint(report: LintReport, rank?: number): string {
	const { costs, findings } = report;
	return [
		heading(report),
		...(costs === undefined ? [] : [costTable(costs), totals(report, costs)]),
		...(costs?.tensors === undefined || rank === undefined ? [] : [rankTable(rank, costs.tensors)]),
		...findings.map(describe),
		report.isFit ? "It loads." : "It does not load as it should.",
	].join("\n\n");
}

function heading({ directory, checkpoint, trainer }: LintReport): string {
	const { tensors, entries, files, objects } = checkpoint;
	const parts = [
		plural(tensors, "tensor"),
		plural(entries, "entry", "entries"),
		plural(files, "file"),
	];
	if (objects > 0) parts.push(plural(objects, "other object"));
	const lines = [`${directory}: ${parts.join(", ")}`];
	if (trainer !== undefined) {
		const profile = trainer.target === undefined ? "" : ` (${trainer.target})`;
		lines.push(
			`job: ${trainer.layout}; ${plural(trainer.tensors, "tensor")}, ${KEYS[trainer.keys]}${profile}`,
		);
	}
	return lines.join("\n");
}

function costTable({ perRank }: LoadCosts): string {
	return formatTable(
		[
			["of each rank", "min", "mean", "max", "worst"],
			spreadRow("bytes read", perRank.readBytes, formatBytes),
			spreadRow("  tensor data in it", perRank.dataBytes, formatBytes),
			spreadRow("bytes needed", perRank.neededBytes, formatBytes),
			spreadRow("amplification", perRank.amplification, formatFactor),
			spreadRow("entries opened", perRank.entries, formatMean),
			spreadRow("reads", perRank.reads, formatMean),
			spreadRow("files opened", perRank.files, formatMean),
			spreadRow("largest entry in memory", perRank.peakBytes, formatBytes),
		],
		[1, 2, 3],
	);
}

function spreadRow(
	name: string,
	{ min, mean, max, worstRank }: Spread,
	format: (value: number) => string,
): string[] {
	return [name, format(min), format(mean), format(max), min === max ? "" : `rank ${worstRank}`];
}

function formatMean(value: number): string {
	return formatCount(Math.round(value));
}

function formatFactor(value: number): string {
	return Number.isFinite(value) ? `${value.toFixed(2)}×` : "∞";
}

function totals({ checkpoint, readBufferBytes }: LintReport, { total, ranks }: LoadCosts): string {
	return [
		`All ${plural(ranks.length, "rank")} together: ${formatBytes(total.readBytes)} read for ${formatBytes(total.neededBytes)} needed (${formatFactor(total.amplification)}), in ${plural(total.reads, "read")};`,
		`and .metadata of ${formatBytes(checkpoint.metadataBytes)} on each rank, ${formatBytes(total.metadataBytes)} in all. Python reads through buffers of ${formatBytes(readBufferBytes)}.`,
	].join("\n");
}

function rankTable(rank: number, tensors: readonly TensorCost[]): string {
	const rows = tensors
		.slice(0, SHOWN_TENSORS)
		.map(({ fqn, readBytes, neededBytes, entries }) => [
			fqn,
			formatBytes(readBytes),
			formatBytes(neededBytes),
			formatCount(entries),
		]);
	const hidden = tensors.length - rows.length;
	const table = formatTable([[`rank ${rank}`, "read", "needed", "entries"], ...rows], [1, 2, 3]);
	return hidden > 0 ? `${table}\n… and ${plural(hidden, "more tensor")}; --json shows all` : table;
}

function describe({ severity, kind, message, raises, hint, count, examples }: LintFinding): string {
	const lines = [`${severity} (${kind}): ${message}`];
	if (raises !== undefined) lines.push(`  torch raises: ${raises}`);
	else if (severity === "error" && kind !== "waste" && kind !== "mesh")
		lines.push("  torch says nothing");
	const shown = examples.slice(0, severity === "note" ? 3 : examples.length);
	lines.push(...shown.map((example) => `    ${example}`));
	if (shown.length > 0 && count > shown.length)
		lines.push(`    … and ${formatCount(count - shown.length)} more`);
	if (hint !== "") lines.push(`  hint: ${hint}`);
	return lines.join("\n");
}
