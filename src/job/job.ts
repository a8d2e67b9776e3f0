import { join } from "node:path";
import { STATE_NAME } from "../core/checkpoint.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { type EventListener, emitTo } from "../core/events.ts";
import { isThere, listIfThere } from "../files/read-file.ts";
import { makeDirectories } from "../files/make-directories.ts";
import { differencesOf, type JobRecord, publishRecord, readRecord } from "./job-record.ts";
import { findCheckpoint } from "./output.ts";
import {
	jobPath,
	newestJob,
	PLAN_PREFIX,
	PREPARED_NAME,
	removeJob,
	removeLeftovers,
	SUMMARY_NAME,
} from "./state.ts";
import type { CommandFacts, JobSummary } from "../core/job-summary.ts";
import { readSummary } from "./summary.ts";
import { systemTimers, type Timers } from "./timers.ts";

/** What a worker has to know to join a job, or to begin it. */
export interface JobOptions {
	/** Of the checkpoint. Created when missing. */
	readonly directory: string;
	/** Which of how many workers this is; `index` counts from 0. */
	readonly worker: { readonly index: number; readonly count: number };
	readonly command: CommandFacts;
	/** Whether another checkpoint in the directory may be replaced. */
	readonly overwrite: boolean;
	/** Whether this worker finishes what others left. */
	readonly takeover: boolean;
	/** How long a worker without a sign of life is respected, milliseconds. */
	readonly leaseMs: number;
	/** Version of this program. */
	readonly tool: string;
	readonly signal?: AbortSignal | undefined;
	/** Hears warnings. */
	readonly onEvent?: EventListener | undefined;
	readonly timers?: Timers | undefined;
}

/** A job as one of its workers sees it: a directory, and what all of them agreed on. */
export interface Job {
	readonly options: JobOptions;
	readonly emit: EventListener;
	readonly timers: Timers;
	/** What this worker is called in claims: `worker 3`. */
	readonly holder: string;
	/** Of all jobs of the directory, the newest counts. */
	readonly number: number;
	/** Of the job's state. */
	readonly path: string;
	readonly record: JobRecord;
	/** The longest time between two looks at what others do, milliseconds. */
	readonly everyMs: number;
}

/** A job to take part in, or one that is finished. */
export type JoinedJob = { readonly job: Job } | { readonly finished: JobSummary };

/** Times that a worker looks at another's claim during a lease; no oftener than is good for the file system. */
const LOOKS_PER_LEASE = 12;
const MOST_SELDOM_MS = 5_000;

/**
 * Joins the job of `directory`, or begins it. The first worker decides into how many shares the plan is cut. A job that got no
 * further than planning, because it was given up or stopped, is no obstacle.
 *
 * @throws {HfStreamDcpError} `OUTPUT_EXISTS` for a directory with another checkpoint; `PLAN_CHANGED` for an unfinished one of another
 * command; `OUTPUT_WRITE`. Nothing was removed then.
 */
export async function joinJob(options: JobOptions): Promise<JoinedJob> {
	const { directory, command, worker, tool, overwrite } = options;
	await makeDirectories(directory);
	for (;;) {
		const number = await newestJob(directory);
		const path = jobPath(directory, number);
		const record = number === 0 ? undefined : await readRecord(path);
		const isBegun = record !== undefined && (await hasBegun(path));
		if (record !== undefined && isSame(record, isBegun, options)) {
			return { job: jobOf(options, number, record) };
		}
		if (isBegun && !overwrite) throw otherCommand(directory, record, command);
		const finished = isBegun ? undefined : await findFinished(options);
		if (finished !== undefined) {
			await removeLeftovers(directory);
			return { finished };
		}
		const found = await findCheckpoint(directory);
		const isInTheWay = isBegun || found.metadata.length + found.data.length > 0;
		const clear = overwrite && isInTheWay;
		await makeDirectories(join(directory, STATE_NAME));
		const begun: JobRecord = { command, shares: worker.count, clear, tool, begunAt: Date.now() };
		const own = jobPath(directory, number + 1);
		if (await publishRecord(own, begun)) {
			const finishedMeanwhile = await lookAgain(own, path, record, options);
			if (finishedMeanwhile !== undefined) return { finished: finishedMeanwhile };
		}
		// Whoever was fastest: the next round reads what is there now.
	}
}

/**
 * A process may be stopped for long before it publishes a job. What it decided by is looked at again: the job that it replaces may have
 * begun since, and one that there was not may be finished.
 */
async function lookAgain(
	own: string,
	replaced: string,
	record: JobRecord | undefined,
	options: JobOptions,
): Promise<JobSummary | undefined> {
	try {
		if (record !== undefined && !options.overwrite && (await hasBegun(replaced))) {
			throw otherCommand(options.directory, record, options.command);
		}
		const finished = record === undefined ? await findFinished(options) : undefined;
		if (finished !== undefined) await removeJob(own);
		return finished;
	} catch (error) {
		await removeJob(own);
		throw error;
	}
}

/** Whether a job is that of this command. One that would remove a checkpoint must have been asked to. */
function isSame(record: JobRecord, isBegun: boolean, options: JobOptions): boolean {
	if (differencesOf(record.command, options.command).length > 0) return false;
	return isBegun || !record.clear || options.overwrite;
}

/** Whether a job got as far as to write into the directory. */
async function hasBegun(path: string): Promise<boolean> {
	const plans = (await listIfThere(path)).filter((name) => name.startsWith(PLAN_PREFIX));
	for (const name of plans) if (await isThere(join(path, name, PREPARED_NAME))) return true;
	return false;
}

function otherCommand(
	directory: string,
	record: JobRecord,
	command: CommandFacts,
): HfStreamDcpError {
	const differences = differencesOf(record.command, command);
	return new HfStreamDcpError(
		"PLAN_CHANGED",
		`${directory} holds an unfinished checkpoint of another command:\n  ${differences.join("\n  ")}`,
		{
			hint: "Repeat the first command to finish it, choose another directory, or pass --overwrite to begin anew.",
			facts: { directory, differences },
		},
	);
}

/** What the directory holds when nothing is under way in it; `undefined` when there is nothing, or it is to be replaced. */
async function findFinished(options: JobOptions): Promise<JobSummary | undefined> {
	const { directory, command, overwrite, worker } = options;
	const found = await findCheckpoint(directory);
	const hint = "Choose another directory, or pass --overwrite to replace what is there.";
	const facts = { directory };
	if (found.metadata.length > 0) {
		const summary = await readSummary(join(directory, SUMMARY_NAME));
		const differences = summary === undefined ? [] : differencesOf(summary.command, command);
		// In a job, nobody knows whether a worker comes late or begins anew.
		const isWanted = !overwrite || worker.count > 1;
		if (summary !== undefined && differences.length === 0 && isWanted) return summary;
		if (overwrite) return undefined;
		const of = differences.length > 0 ? ` of another command:\n  ${differences.join("\n  ")}` : "";
		const message = `${directory} already holds a finished checkpoint${of}`;
		throw new HfStreamDcpError("OUTPUT_EXISTS", message, {
			hint,
			facts: { ...facts, differences },
		});
	}
	if (found.data.length > 0 && !overwrite) {
		const message = `${directory} holds data files of an unfinished checkpoint of another program: ${found.data[0]}`;
		throw new HfStreamDcpError("OUTPUT_EXISTS", message, { hint, facts });
	}
	return undefined;
}

function jobOf(options: JobOptions, number: number, record: JobRecord): Job {
	const { directory, worker, leaseMs, onEvent, timers = systemTimers } = options;
	return {
		options,
		emit: emitTo(onEvent),
		timers,
		holder: `worker ${worker.index}`,
		number,
		path: jobPath(directory, number),
		record,
		everyMs: Math.min(MOST_SELDOM_MS, leaseMs / LOOKS_PER_LEASE),
	};
}

/** Removes the state of a job that was not begun because it cannot be, unless other workers take part in it. Never fails. */
export async function giveUp({ path, options }: Job): Promise<void> {
	if (options.worker.count === 1 && !(await hasBegun(path))) await removeJob(path);
}

/**
 * How the job ended, if it did so without this worker: another one committed the checkpoint and removed the state.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`, also when the state disappeared and there is no checkpoint.
 */
export async function endedElsewhere({ path, options }: Job): Promise<JobSummary | undefined> {
	if ((await readRecord(path)) !== undefined) return undefined;
	const { directory, command } = options;
	const { metadata } = await findCheckpoint(directory);
	const summary = await readSummary(join(directory, SUMMARY_NAME));
	const isOurs = summary !== undefined && differencesOf(summary.command, command).length === 0;
	if (metadata.length > 0 && isOurs) {
		await removeLeftovers(directory);
		return summary;
	}
	throw new HfStreamDcpError(
		"OUTPUT_WRITE",
		`${path} disappeared, and with it the state of this job`,
		{
			hint: "Another command has begun in the directory, or somebody removed it. Choose one of them, and start again.",
			facts: { path },
		},
	);
}
