import { resolve } from "node:path";
import type { ConvertOptions, ConvertSummary } from "../index.ts";
import { formatBytes, formatDuration, formatTable, plural } from "./format.ts";
import { describeLoading } from "./load-command.ts";
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
export function renderSummary(summary: ConvertSummary, options: ConvertOptions): string {
	const { plan, seconds } = summary;
	const directory = resolve(summary.directory);
	const rate = seconds > 0 ? ` (${formatBytes(summary.fetchedBytes / seconds)}/s)` : "";
	const rows = [
		["source", describeSource(plan.source)],
		["checkpoint", directory],
		["mesh", plan.layout],
		["target", `${plan.target}, family ${plan.family}`],
		[
			"fetched",
			`${formatBytes(summary.fetchedBytes)} in ${plural(summary.requests, "request")}, ${formatDuration(seconds)}${rate}`,
		],
		[
			"written",
			`${formatBytes(plan.totals.writeBytes)}: ${plural(plan.totals.files, "file")}, ${plural(plan.totals.entries, "entry", "entries")}; .metadata ${formatBytes(summary.metadataBytes)}`,
		],
		...qkvRows(plan, summary.wholeQkvBytes),
		...nameRows(plan),
	];
	if (summary.resumedEntries > 0) {
		rows.push([
			"resumed",
			`${plural(summary.resumedEntries, "entry was", "entries were")} finished by an earlier run`,
		]);
	}
	rows.push(["threads", describeThreads(summary.threads.length, summary.threadsReason)]);
	rows.push(["network", describeTransport(summary)]);
	rows.push(["reshard", summary.backend], ["writes", describeWrites(summary)]);
	rows.push(["checksums", summary.checksums]);
	const loading = describeLoading({
		directory,
		target: plan.target,
		family: plan.family,
		worldSize: plan.worldSize,
		parallelism: options.parallelism,
	});
	return `${formatTable(rows)}\n\n${loading}`;
}
