import { readTextIfThere } from "../files/read-file.ts";
import { condensePoints } from "./timeline.ts";
import type { JobSummary, ShareReport, WorkerSummary } from "../core/job-summary.ts";

/** Adds up what was reported, worker by worker. */
export function workersOf(reports: readonly ShareReport[]): readonly WorkerSummary[] {
	const groups = new Map<string, ShareReport[]>();
	for (const report of reports) {
		const key = `${report.worker} ${report.host}`;
		groups.set(key, [...(groups.get(key) ?? []), report]);
	}
	return [...groups.values()]
		.map((group) => summarise(group, reports.length))
		.toSorted((a, b) => a.worker - b.worker || a.host.localeCompare(b.host));
}

function summarise(reports: readonly ShareReport[], shares: number): WorkerSummary {
	const sorted = reports.toSorted((a, b) => a.share - b.share);
	const timelines = sorted.flatMap(({ timeline }) => timeline ?? []);
	const sum = (of: (report: ShareReport) => number): number =>
		reports.reduce((total, report) => total + of(report), 0);
	return {
		worker: reports[0]?.worker ?? 0,
		host: reports[0]?.host ?? "",
		shares: sorted.map(({ share }) => share),
		takeovers: reports.filter(({ takenOver }) => takenOver).length,
		seconds: sum(({ seconds }) => seconds),
		fetchedBytes: sum(({ fetchedBytes }) => fetchedBytes),
		requests: sum(({ requests }) => requests),
		retries: sum(({ retries }) => retries),
		writtenBytes: sum(({ writtenBytes }) => writtenBytes),
		entries: sum(({ entries }) => entries),
		resumedEntries: sum(({ resumedEntries }) => resumedEntries),
		...(timelines.length < reports.length
			? undefined
			: {
					timelines: timelines.map((timeline) => ({
						...timeline,
						points: condensePoints(timeline.points, shares),
					})),
				}),
	};
}

function onOneLine(list: string): string {
	return list.replaceAll(/\s+/g, "").replaceAll(",", ", ");
}

/** The text of `summary.json`: a line to each value, and to each point of a time line. */
export function formatSummary(summary: JobSummary): string {
	const text = JSON.stringify(summary, undefined, "\t");
	// In texts, a line break is escaped: these are lists of numbers.
	return `${text.replaceAll(/\[\n[\s\d.,e+-]*\]/g, onOneLine)}\n`;
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
