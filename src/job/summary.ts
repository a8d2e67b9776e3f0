import { readTextIfThere } from "../files/read-file.ts";
import type { CommandFacts } from "./manifest.ts";

/** What was done, in numbers. Bytes, but for the counts. */
export interface WorkFigures {
	readonly seconds: number;
	readonly fetchedBytes: number;
	readonly requests: number;
	readonly retries: number;
	readonly writtenBytes: number;
	readonly entries: number;
	/** Entries that earlier attempts had finished. */
	readonly resumedEntries: number;
}

/** What was done for one share by whoever finished it: the figures are of the last attempt. */
export interface ShareReport extends WorkFigures {
	readonly share: number;
	/** Index of the worker. */
	readonly worker: number;
	readonly host: string;
	/** How often it was begun, this time included; more than once after a crash, a stop or a take-over. */
	readonly attempts: number;
	/** Whether the worker finished what belonged to another. */
	readonly takenOver: boolean;
}

/** What one worker did, added up over its shares. */
export interface WorkerSummary extends WorkFigures {
	readonly worker: number;
	readonly host: string;
	readonly shares: readonly number[];
	/** Shares that belonged to others. */
	readonly takeovers: number;
}

/** What a job did; also the content of `summary.json`. What attempts fetched that did not finish their share is not counted. */
export interface JobSummary {
	readonly format: "hf-stream-dcp summary 1";
	readonly tool: string;
	readonly command: CommandFacts;
	/** Identity of the plan. */
	readonly planId: string;
	/** Commit of the source. */
	readonly commit: string;
	/** ISO 8601, by the clocks of who began and of who committed. */
	readonly begun: string;
	readonly ended: string;
	/** From the beginning, by whichever attempt, to the commit. */
	readonly seconds: number;
	readonly shares: number;
	/** Bytes of the data files, and their number. */
	readonly dataBytes: number;
	readonly files: number;
	readonly metadataBytes: number;
	/** Sums over the workers. */
	readonly fetchedBytes: number;
	readonly requests: number;
	readonly retries: number;
	readonly takeovers: number;
	readonly workers: readonly WorkerSummary[];
}

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
