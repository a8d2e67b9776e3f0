import { resolve } from "node:path";
import type { ConvertOptions, ConvertSummary, FoundSummary, LaunchedWorker } from "../index.ts";
import { formatBytes, formatDuration, formatTable, plural } from "./format.ts";
import { describeLoading, meshOf } from "./load-command.ts";
import { describeDeviceWork } from "./render-device.ts";
import { formatNumbers, formatRate, renderJob } from "./render-job.ts";
import { originRows } from "./render-origin.ts";
import { describeSource, nameRows, qkvRows } from "./render-plan.ts";
import { describeThreads } from "./render-threads.ts";

/** How the bytes came; sources on a disk have no connections. */
function describeTransport({ transport, retries, sourceKind }: ConvertSummary): string {
	const { connections, hedges, fallbacks } = transport;
	if (sourceKind !== "hub") return "none: the source is on this machine";
	const parts = [plural(connections, "connection"), plural(retries, "retry", "retries")];
	if (hedges > 0) parts.push(`${plural(hedges, "lagging answer")} continued elsewhere`);
	for (const [why, count] of Object.entries(fallbacks)) {
		parts.push(`${plural(count, "request")} not direct: ${why}`);
	}
	return parts.join(", ");
}

/** How the bytes reached the disk. */
function describeWrites({ writes, copiedBytes }: ConvertSummary): string {
	const { mode, directBytes, bufferedBytes, refusals } = writes;
	const how =
		mode === "direct"
			? `O_DIRECT ${formatBytes(directBytes)}, buffered ${formatBytes(bufferedBytes)}`
			: `buffered ${formatBytes(bufferedBytes)}`;
	const refused = refusals > 0 ? `; O_DIRECT refused for ${plural(refusals, "file")}` : "";
	return `${how} in ${plural(writes.calls, "call")}; ${formatBytes(copiedBytes)} copied first${refused}`;
}

/** What a conversion did and how its result is loaded; no line break at the end. */
export function renderSummary(
	summary: ConvertSummary | FoundSummary,
	options: ConvertOptions,
	worker?: LaunchedWorker,
): string {
	if (summary.outcome === "found") {
		return `${summary.directory} holds the finished checkpoint of this command; there is nothing to do.\n\n${renderJob(summary.job)}`;
	}
	if (options.worker.count > 1) return renderWorker(summary, options, worker);
	return `${formatTable(summaryRows(summary))}\n\n${loadingOf(summary, options)}`;
}

function summaryRows(summary: ConvertSummary): string[][] {
	const { plan, totals } = summary;
	return [
		["source", describeSource(plan.source)],
		["checkpoint", resolve(summary.directory)],
		["mesh", plan.layout],
		["target", `${plan.target}, family ${plan.family}`],
		...originRows(summary.layoutOrigin),
		fetchedRow(summary),
		[
			"written",
			`${formatBytes(totals.writeBytes)}: ${plural(totals.files, "file")}, ${plural(totals.entries, "entry", "entries")}; .metadata ${formatBytes(summary.metadataBytes)}`,
		],
		...qkvRows(plan, summary.wholeQkvBytes),
		...nameRows(plan),
		...workRows(summary),
	];
}

/** What came over the network, and how fast. */
function fetchedRow({ fetchedBytes, requests, seconds }: ConvertSummary): string[] {
	const rate = seconds > 0 ? ` (${formatRate(fetchedBytes, seconds)})` : "";
	const how = `${plural(requests, "request")}, ${formatDuration(seconds)}${rate}`;
	return ["fetched", `${formatBytes(fetchedBytes)} in ${how}`];
}

/** How the work was done. */
function workRows(summary: ConvertSummary): string[][] {
	const rows: string[][] = [];
	if (summary.resumedEntries > 0) {
		rows.push([
			"resumed",
			`${plural(summary.resumedEntries, "entry was", "entries were")} finished by an earlier run`,
		]);
	}
	if (summary.outcome === "others") rows.push(["finished", "by another process"]);
	rows.push(["threads", describeThreads(summary.threads.length, summary.threadsReason)]);
	rows.push(["network", describeTransport(summary)]);
	rows.push(["device", describeDeviceWork(summary.device)]);
	rows.push(["reshard", summary.backend], ["writes", describeWrites(summary)]);
	rows.push(["checksums", summary.checksums]);
	return rows;
}

const OUTCOMES: { readonly [O in ConvertSummary["outcome"]]: string } = {
	committed: "every share is done; this worker wrote .metadata",
	others: "every share is done; another worker wrote .metadata",
	left: "what this worker had to do is done; shares of others are not",
};

/** Which part of the work it was. */
function shareRow({ shares, ranks, plan }: ConvertSummary): string[] {
	if (ranks !== undefined) return ["ranks", `${formatNumbers(ranks)} of ${plan.worldSize}`];
	if (shares.length === 0) return ["shares", "none was left to do"];
	const numbers = formatNumbers(shares.map(({ share }) => share).toSorted((a, b) => a - b));
	const taken = shares.filter(({ takenOver }) => takenOver).length;
	if (taken === 0) return ["shares", numbers];
	return ["shares", `${numbers}; ${plural(taken, "of them was", "of them were")} taken over`];
}

const LOCAL_OUTCOME = "what its ranks hold is here; .metadata lists the whole checkpoint";

/** What one of several workers did; who wrote `.metadata` also says what all of them did. */
function renderWorker(
	summary: ConvertSummary,
	options: ConvertOptions,
	worker: LaunchedWorker | undefined,
): string {
	const { shares } = summary;
	const { index, count } = options.worker;
	const rows = [
		["worker", `${index} of ${count}${worker === undefined ? "" : `, ${worker.launcher}`}`],
		["checkpoint", resolve(summary.directory)],
		shareRow(summary),
		fetchedRow(summary),
		["written", formatBytes(summary.writtenBytes)],
		...(shares.length === 0 ? [] : workRows({ ...summary, outcome: "committed" })),
		["outcome", options.localOutput ? LOCAL_OUTCOME : OUTCOMES[summary.outcome]],
	];
	const text = formatTable(rows);
	if (options.localOutput) return text;
	if (summary.outcome !== "committed" || summary.job === undefined) return text;
	return `${text}\n\n${renderJob(summary.job)}\n\n${loadingOf(summary, options)}`;
}

function loadingOf({ directory, plan }: ConvertSummary, options: ConvertOptions): string {
	const { target, family, worldSize } = plan;
	const parallelism = meshOf(options);
	return describeLoading({ directory: resolve(directory), target, family, worldSize, parallelism });
}
