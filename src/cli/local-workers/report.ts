import { EXIT_CODES, type ErrorCode, HfStreamDcpError, type JobSummary } from "../../index.ts";
import type { ChildError } from "./child-log.ts";
import type { LocalWorkerResult, LocalWorkersResult } from "./run-local-workers.ts";

/** What a worker writes to stdout: the summary of a conversion. */
export interface ChildSummary {
	readonly outcome: "committed" | "others" | "left" | "found";
	readonly directory: string;
	readonly job?: JobSummary | undefined;
	/** Absent when the checkpoint was finished before. */
	readonly target?: string | undefined;
	readonly family?: string | undefined;
	readonly worldSize?: number | undefined;
}

/** What came of a job whose workers were started here. */
export interface LocalJobReport {
	/** Of a worker that saw the end; `undefined` when there was none. */
	readonly finished: ChildSummary | undefined;
	/** What each worker wrote, those that failed left out. */
	readonly summaries: readonly ChildSummary[];
	/** What to say on the way, one sentence each. */
	readonly warnings: readonly string[];
	/** Why the job is not finished. */
	readonly error: Error | undefined;
}

/** Judges how workers ended: when the checkpoint is whole, what some of them failed with is no more than a warning. */
export function reportOf({ workers, stopped }: LocalWorkersResult): LocalJobReport {
	const summaries = workers.flatMap((worker) => summaryOf(worker) ?? []);
	const finished = summaries.find(({ outcome }) => outcome !== "left");
	const failures = workers.filter(({ code }) => code !== 0);
	if (finished !== undefined) {
		return {
			finished,
			summaries,
			warnings: failures.map((worker) => `${describe(worker)}; others did its work`),
			error: undefined,
		};
	}
	if (stopped !== undefined) return { finished, summaries, warnings: [], error: stopped };
	const [worst, ...others] = failures.toSorted((a, b) => exitCodeOf(b) - exitCodeOf(a));
	const isOther = ({ error }: LocalWorkerResult): boolean =>
		error === undefined || error.message !== worst?.error?.message;
	return {
		finished,
		summaries,
		warnings: others.filter(isOther).map(describe),
		error: worst === undefined ? unfinished() : errorOf(worst),
	};
}

function summaryOf({ code, stdout }: LocalWorkerResult): ChildSummary | undefined {
	return code === 0 ? (JSON.parse(stdout) as ChildSummary) : undefined;
}

function describe({ index, code, killedBy, error }: LocalWorkerResult): string {
	if (error !== undefined) return `worker ${index} failed: ${error.message}`;
	return killedBy === undefined
		? `worker ${index} ended with code ${code ?? "unknown"}`
		: `worker ${index} was ended by ${killedBy}`;
}

/** An error that a worker names is worse than one that it left no word about. */
function exitCodeOf({ error }: LocalWorkerResult): number {
	return error?.exitCode ?? 0;
}

function errorOf(worker: LocalWorkerResult): Error {
	const { error, index } = worker;
	if (error === undefined) {
		return new HfStreamDcpError("WORKER_FAILED", describe(worker), {
			hint: "Run the same command again: what is finished is kept. If it was out of memory, give fewer --workers or --threads.",
			facts: { worker: index },
		});
	}
	if (isCode(error)) {
		const facts = { worker: index };
		return new HfStreamDcpError(error.code, error.message, { hint: error.hint, facts });
	}
	return new Error(`worker ${index}: ${error.message}`);
}

function isCode(error: ChildError): error is ChildError & { readonly code: ErrorCode } {
	return error.code !== undefined && error.code in EXIT_CODES;
}

/** Every worker did its own and none was there to finish: only with `--no-takeover`, when one began a share and another ended it. */
function unfinished(): Error {
	return new HfStreamDcpError("WORKER_FAILED", "every worker has ended, and shares are left", {
		hint: "Run the same command again: what is finished is kept.",
	});
}
