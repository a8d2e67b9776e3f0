import type { Coverage, Plan, Preparation } from "../index.ts";
import { formatBytes, formatCount, formatMemory, formatTable, plural } from "./format.ts";
import { recordJson } from "./record-json.ts";
import { deviceRows } from "./render-device.ts";
import { originRows } from "./render-origin.ts";
import { firstOf, summariseNotes } from "./summarise-notes.ts";
import { threadRows } from "./render-threads.ts";
import { describeBalance, renderPlannedWorkers } from "./render-workers.ts";

/** What a plan dequantises, leaves out, stores twice and adds, as rows of a table; nothing for what does not happen. */
export function nameRows(
	plan: Pick<Plan, "dequantised" | "dropped" | "tied" | "synthesised">,
): string[][] {
	const rows: string[][] = [];
	for (const line of summariseNotes(plan.dequantised, "weight")) rows.push(["quantised", line]);
	for (const line of summariseNotes(plan.dropped)) rows.push(["dropped", line]);
	for (const line of summariseNotes(plan.tied)) rows.push(["tied", line]);
	if (plan.synthesised.length > 0) {
		const { synthesised } = plan;
		rows.push([
			"added",
			`${plural(synthesised.length, "tensor")} that no source has (${firstOf(synthesised)})`,
		]);
	}
	return rows;
}

/** What fused QKV costs, and how to have it cut, as rows of a table; nothing when it costs nothing. */
export function qkvRows({ target }: Pick<Plan, "target">, wholeBytes: number): string[][] {
	if (wholeBytes === 0) return [];
	const unfused = target.endsWith("+fused")
		? target.slice(0, -"+fused".length)
		: `${target}+unfused`;
	return [
		[
			"whole QKV",
			`every rank reads up to ${formatBytes(wholeBytes)} of wq, wk, wv whole: ${target} fuses QKV, which no mesh cuts`,
		],
		["", `for a model configured without fused QKV: --target ${unfused}`],
	];
}

/** What a small memory budget costs, as rows of a table; nothing when it costs nothing. */
function memoryCostRows({ entriesCut }: Plan["totals"]): string[][] {
	if (entriesCut === 0) return [];
	const entries = plural(entriesCut, "entry", "entries");
	return [["", `it costs ${entries} more than a larger one: blocks are cut to fit into it`]];
}

/** What many workers cost: blocks are cut between them, where they cannot be balanced otherwise. */
function shareCostRows({ entriesCutForShares }: Plan["totals"]): string[][] {
	if (entriesCutForShares === 0) return [];
	const entries = plural(entriesCutForShares, "entry", "entries");
	return [["", `they cost ${entries} more than one worker: blocks are cut between them`]];
}

/** What disks of their own cost the workers. */
function localCostRows({ local }: Preparation): string[][] {
	if (local === undefined) return [];
	const { extraFetchBytes, extraWriteBytes } = local;
	return [
		[
			"",
			`disks of their own cost ${formatBytes(extraFetchBytes)} in and ${formatBytes(extraWriteBytes)} out more than a shared one`,
		],
	];
}

/** `org/name @ 0123456789ab` or the directory. */
export function describeSource(source: Pick<Plan["source"], "repo" | "commit">): string {
	return source.commit === "local" ? source.repo : `${source.repo} @ ${source.commit.slice(0, 12)}`;
}

/** Most memory that all threads of a worker take together. */
function memoryOf({ threads, workers }: Preparation): number {
	const first = threads.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
	return workers.reduce((most, { memoryBytes }) => Math.max(most, memoryBytes), first);
}

/** `used 1,087, each element once; tied 1; dropped 400 vision_model.*, 12 multi_modal_projector.*` */
export function describeCoverage({ used, tied, dropped }: Coverage): string {
	const patterns = dropped.map(
		({ reason, tensors }) => `${formatCount(tensors)} ${reason.split(": ")[0] ?? reason}`,
	);
	return [
		`used ${formatCount(used)}, each element once`,
		...(tied > 0 ? [`tied ${formatCount(tied)}`] : []),
		...(patterns.length > 0 ? [`dropped ${patterns.join(", ")}`] : []),
	].join("; ");
}

/** The plan as a table for people; no line break at the end. */
export function renderPlan(preparation: Preparation): string {
	const { plan, threads, workers } = preparation;
	const { totals, source } = plan;
	const { min, max } = totals.rankBytes;
	const rows = [
		["source", `${describeSource(source)} (${preparation.sourceKind})`],
		[
			"",
			`${plural(source.files.length, "file")}, ${plural(source.tensors.length, "tensor")}, ${formatBytes(preparation.headerBytes)} of headers read`,
		],
		["", describeCoverage(preparation.coverage)],
		["target", `${plan.target}, family ${plan.family}`],
		["mesh", plan.layout],
		...originRows(preparation.layoutOrigin),
		["fetch", `${formatBytes(totals.fetchBytes)} in ${plural(totals.requests, "request")}`],
		[
			"write",
			`${formatBytes(totals.writeBytes)}: ${plural(totals.files, "file")}, ${plural(totals.entries, "entry", "entries")} of ${plural(plan.tensors.length, "tensor")}`,
		],
		[".metadata", formatBytes(preparation.metadataBytes)],
		["per rank", min === max ? formatBytes(max) : `${formatBytes(min)} to ${formatBytes(max)}`],
		[
			"memory",
			`${formatMemory(memoryOf(preparation))} for staging and buffers at most, of a budget of ${formatMemory(plan.limits.budgetBytes)}${threads.length > 1 ? " for each thread" : ""}${workers.length > 1 ? ", in each worker" : ""}`,
		],
		...memoryCostRows(totals),
		[
			"tiles",
			`${formatCount(plan.tiles.length)}, the largest ${formatMemory(totals.largestTileBytes)}`,
		],
		...(workers.length > 1 ? [["workers", describeBalance(preparation)]] : []),
		...shareCostRows(totals),
		...localCostRows(preparation),
		...threadRows(preparation),
		...deviceRows(preparation.device),
		...qkvRows(plan, preparation.wholeQkvBytes),
		...nameRows(plan),
	];
	const table = formatTable(rows);
	return workers.length > 1 ? `${table}\n\n${renderPlannedWorkers(workers)}` : table;
}

/**
 * The plan as JSON, in pieces, as {@link recordJson} makes them.
 *
 * @yields Text to be written one after the other.
 */
export function* planJson(preparation: Preparation): Generator<string> {
	const { plan, ...rest } = preparation;
	yield* recordJson({ ...plan, ...rest });
}
