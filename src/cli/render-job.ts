import type { JobSummary, WorkerSummary } from "../index.ts";
import { formatBytes, formatCount, formatDuration, formatTable, plural } from "./format.ts";

/** Workers that a table lists; of more, the slowest. */
const MOST_WORKERS = 32;

/** `1.23 GB/s`; nothing when there is no time to divide by. */
export function formatRate(bytes: number, seconds: number): string {
	return seconds > 0 ? `${formatBytes(bytes / seconds)}/s` : "–";
}

/** What all workers did together, as rows of a table. */
export function jobRows(job: JobSummary): string[][] {
	const hosts = new Set(job.workers.map(({ host }) => host)).size;
	const { fetchedBytes, seconds, takeovers } = job;
	const taken = takeovers === 0 ? "" : `, ${formatCount(takeovers)} taken over`;
	return [
		[
			"job",
			`${plural(job.workers.length, "worker")} on ${plural(hosts, "host")}, ${plural(job.shares, "share")}${taken}; ${formatDuration(seconds)}, ${formatRate(fetchedBytes, seconds)}`,
		],
		[
			"fetched",
			`${formatBytes(fetchedBytes)} in ${plural(job.requests, "request")}, ${plural(job.retries, "retry", "retries")}`,
		],
		[
			"written",
			`${formatBytes(job.dataBytes)}: ${plural(job.files, "file")}; .metadata ${formatBytes(job.metadataBytes)}`,
		],
	];
}

const HEADINGS = [
	"worker",
	"host",
	"shares",
	"taken over",
	"wall",
	"rate",
	"fetched",
	"requests",
	"retries",
	"written",
	"entries",
	"resumed",
] as const;

/** What each worker did, as a table; no line break at the end. */
export function renderWorkers({ workers }: JobSummary): string {
	const shown =
		workers.length <= MOST_WORKERS
			? workers
			: workers.toSorted((a, b) => b.seconds - a.seconds).slice(0, MOST_WORKERS);
	const right = [...HEADINGS.keys()].filter((column) => column !== 1 && column !== 2);
	const table = formatTable([HEADINGS, ...shown.map(workerRow)], right);
	const rest = workers.length - shown.length;
	if (rest === 0) return table;
	return `${table}\nthe slowest ${shown.length}; ${formatCount(rest)} more in summary.json`;
}

function workerRow(worker: WorkerSummary): string[] {
	return [
		String(worker.worker),
		worker.host,
		formatNumbers(worker.shares),
		formatCount(worker.takeovers),
		formatDuration(worker.seconds),
		formatRate(worker.fetchedBytes, worker.seconds),
		formatBytes(worker.fetchedBytes),
		formatCount(worker.requests),
		formatCount(worker.retries),
		formatBytes(worker.writtenBytes),
		formatCount(worker.entries),
		formatCount(worker.resumedEntries),
	];
}

/** Ascending numbers: `0, 3–5, 9`; of many only how many they are. */
export function formatNumbers(numbers: readonly number[]): string {
	const runs: [number, number][] = [];
	for (const number of numbers) {
		const last = runs.at(-1);
		if (last !== undefined && number === last[1] + 1) last[1] = number;
		else runs.push([number, number]);
	}
	if (runs.length > 4) return formatCount(numbers.length);
	const texts = runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
	return texts.join(", ");
}

/** What a job did, and each of its workers; no line break at the end. */
export function renderJob(job: JobSummary): string {
	const text = formatTable(jobRows(job));
	return job.workers.length > 1 ? `${text}\n\n${renderWorkers(job)}` : text;
}
