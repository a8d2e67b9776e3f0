import { rm } from "node:fs/promises";
import { join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import type { PlannedFile } from "../dcp/data-files.ts";
import { isThere, listIfThere } from "../files/read-file.ts";
import { replaceFile } from "../files/replace-file.ts";
import { MANIFEST_NAME } from "../manifest/manifest.ts";
import { awaitClaim } from "./await-claim.ts";
import { type Claim, claimsOn } from "./claims.ts";
import type { Job } from "./job.ts";
import { checkSpace, findCheckpoint, removeCheckpoint } from "./output.ts";
import {
	jobNumbers,
	jobPath,
	makeStateDirectory,
	newestJob,
	PLAN_PREFIX,
	PREPARED_NAME,
	removeJob,
} from "./state.ts";

/** What a job has to know of its plan. */
export interface JobPlan {
	/** 64 hex digits that change whenever the plan would write other bytes or put them elsewhere. */
	readonly planId: string;
	readonly shares: readonly JobShare[];
}

/** What of a plan one worker does at a time. */
export interface JobShare {
	/** Number of its entries; a share without any needs nobody. */
	readonly entries: number;
	/** Which no other share has. */
	readonly files: readonly PlannedFile[];
}

/** A job whose workers agreed on the plan and whose directory is ready for data. */
export interface PreparedJob extends Job {
	readonly plan: JobPlan;
	/** Of what is kept for this plan. */
	readonly planPath: string;
	/** Of the markers of finished shares. */
	readonly donePath: string;
}

/** Digits of a plan's identity that name its directory. */
const NAME_DIGITS = 16;

/**
 * Agrees with the other workers on the plan, and makes the directory ready: once for all of them, free space is checked, and what lay
 * there is removed if the job is to replace it.
 *
 * @throws {HfStreamDcpError} `PLAN_CHANGED` when others have another plan for the same command; `OUTPUT_WRITE` when there is no room.
 * Nothing was removed then.
 */
export async function prepareJob(job: Job, plan: JobPlan): Promise<PreparedJob> {
	const name = nameOf(plan);
	const planPath = join(job.path, name);
	const others = (await listIfThere(job.path)).filter(
		(other) => other.startsWith(PLAN_PREFIX) && other !== name,
	);
	if (others.length > 0) throw otherPlan(job, plan, others);
	const donePath = join(planPath, "done");
	await makeStateDirectory(planPath);
	await makeStateDirectory(donePath);
	const prepared = { ...job, plan, planPath, donePath };
	await prepareOnce(prepared);
	if ((await newestJob(job.options.directory)) === job.number) return prepared;
	throw new HfStreamDcpError(
		"PLAN_CHANGED",
		`another command has begun in ${job.options.directory}`,
		{
			hint: "Choose another directory for one of them.",
			facts: { directory: job.options.directory },
		},
	);
}

/** Name of the folder of what is kept for a plan. */
function nameOf({ planId }: JobPlan): string {
	return `${PLAN_PREFIX}${planId.slice(0, NAME_DIGITS)}`;
}

async function prepareOnce(job: PreparedJob): Promise<void> {
	const { options, timers, everyMs } = job;
	const marker = join(job.planPath, PREPARED_NAME);
	const claims = claimsOn(job, join(job.planPath, "prepare"));
	const { signal } = options;
	const isDone = (): Promise<boolean> => isThere(marker);
	const turn = await awaitClaim(claims, { isDone, everyMs, signal, timers });
	if (turn === undefined) return;
	await using claim = turn.claim;
	try {
		await prepareDirectory(job, claim);
	} catch (error) {
		// Nothing has begun: the directory is left as it was found.
		if (!(await claim.isLost())) await removeJob(job.path);
		throw error;
	}
	await replaceFile(marker, new Uint8Array());
}

async function prepareDirectory(job: PreparedJob, claim: Claim): Promise<void> {
	const { directory } = job.options;
	const { plan, record } = job;
	const { metadata, data } = await findCheckpoint(directory);
	const freed = record.clear ? [...metadata, MANIFEST_NAME, ...data] : [];
	const files = plan.shares.flatMap((share) => share.files);
	const entries = plan.shares.reduce((sum, share) => sum + share.entries, 0);
	await checkSpace(directory, { files, entries, freed });
	if (record.clear) await removeCheckpoint(directory, async () => !(await claim.isLost()));
	for (const number of await jobNumbers(directory)) {
		// Of a job that this one replaces.
		if (number === job.number) continue;
		await rm(jobPath(directory, number), { recursive: true, force: true }).catch(() => {});
	}
}

function otherPlan(
	{ options, record }: Job,
	plan: JobPlan,
	others: readonly string[],
): HfStreamDcpError {
	const { directory, tool } = options;
	return new HfStreamDcpError(
		"PLAN_CHANGED",
		`${directory} holds an unfinished checkpoint of another plan, although the command is the same: it was planned as ${others.join(", ")}, and is now ${nameOf(plan)}`,
		{
			hint: `The source's files have changed, or --memory or Node differ (begun by version ${record.tool}, this is ${tool}). Choose another directory, or pass --overwrite with the other settings.`,
			facts: { directory, found: others, expected: plan.planId },
		},
	);
}
