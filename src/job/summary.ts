import { readTextIfThere } from "../files/read-file.ts";
import type { JobSummary, ShareReport, WorkerSummary } from "../core/job-summary.ts";

/** Adds up what was reported, worker by worker. */
export function workersOf(reports: readonly ShareReport[]): readonly WorkerSummary[] {
	const groups = new Map<string, ShareReport[]>();
	for (const report of reports) {
		const key = `${report.worker} ${report.host}`;
		groups.set(key, [...(groups.get(key) ?? []), report]);
	}
	return [...groups.values()]
		.map(summarise)
		.toSorted((a, b) => a.worker - b.worker || a.host.localeCompare(b.host));
}

function summarise(reports: readonly ShareReport[]): WorkerSummary {
	const sum = (of: (report: ShareReport) => number): number =>
		reports.reduce((total, report) => total + of(report), 0);
	return {
		worker: reports[0]?.worker ?? 0,
		host: reports[0]?.host ?? "",
		shares: reports.map(({ share }) => share).toSorted((a, b) => a - b),
		takeovers: reports.filter(({ takenOver }) => takenOver).length,
		seconds: sum(({ seconds }) => seconds),
		fetchedBytes: sum(({ fetchedBytes }) => fetchedBytes),
		requests: sum(({ requests }) => requests),
		retries: sum(({ retries }) => retries),
		writtenBytes: sum(({ writtenBytes }) => writtenBytes),
		entries: sum(({ entries }) => entries),
		resumedEntries: sum(({ resumedEntries }) => resumedEntries),
	};
}

/**
 * Reads a `summary.json`; `undefined` when there is none of ours.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function readSummary(path: string): Promise<JobSummary | undefined> {
	const text = await readTextIfThere(path);
	if (text === undefined) return undefined;
	try {
		const summary = JSON.parse(text) as JobSummary;
		return summary.format === "hf-stream-dcp summary 1" ? summary : undefined;
	} catch {
		return undefined;
	}
}
