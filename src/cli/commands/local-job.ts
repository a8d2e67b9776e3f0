import { resolve } from "node:path";
import type { ConvertOptions } from "../../index.ts";
import type { FlagValues } from "../flags.ts";
import type { CliIo } from "../io.ts";
import { describeLoading, meshOf } from "../load-command.ts";
import { type ChildSummary, type LocalJobReport, reportOf } from "../local-workers/report.ts";
import { runLocalWorkers } from "../local-workers/run-local-workers.ts";
import { openProgress } from "../open-progress.ts";
import { renderJob } from "../render-job.ts";

/** A conversion by several workers of this machine. */
export interface LocalJob {
	readonly options: ConvertOptions;
	readonly values: FlagValues;
	readonly workers: number;
	/** What a worker is started with. */
	readonly args: readonly string[];
	readonly graceMs: number;
}

/**
 * Starts the workers, shows one log for all, and says what they did.
 *
 * @throws {HfStreamDcpError} what the worst of them failed with, when the checkpoint is not finished.
 * @throws {InterruptedError} when it was stopped.
 */
export async function runLocalJob(io: CliIo, job: LocalJob): Promise<void> {
	const { options, values, workers, args, graceMs } = job;
	const progress = openProgress(io, values);
	let report: LocalJobReport;
	try {
		report = reportOf(await runLocalWorkers(io, { count: workers, args, progress, graceMs }));
		for (const warning of report.warnings) progress.warn(warning);
	} finally {
		progress.stop();
	}
	if (report.error !== undefined) throw report.error;
	if (report.finished === undefined) return;
	io.stdout.write(
		values["logFormat"] === "json"
			? jobJson(report.finished, report.summaries)
			: `${renderLocalJob(report.finished, options)}\n`,
	);
}

/** The job once, and what each worker says of itself. */
function jobJson(
	{ outcome, directory, job }: ChildSummary,
	summaries: readonly ChildSummary[],
): string {
	const workers = summaries.map((summary) => ({ ...summary, job: undefined }));
	return `${JSON.stringify({ outcome, directory, job, workers })}\n`;
}

function renderLocalJob(summary: ChildSummary, options: ConvertOptions): string {
	const parallelism = meshOf(options);
	const { job, target, family, worldSize } = summary;
	const directory = resolve(summary.directory);
	const parts = [
		summary.outcome === "found"
			? `${directory} holds the finished checkpoint of this command; there is nothing to do.`
			: `checkpoint  ${directory}`,
	];
	if (job !== undefined) parts.push(renderJob(job));
	if (target !== undefined && family !== undefined && worldSize !== undefined) {
		parts.push(describeLoading({ directory, target, family, worldSize, parallelism }));
	}
	return parts.join("\n\n");
}
