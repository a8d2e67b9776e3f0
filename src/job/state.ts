import { mkdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { STATE_NAME } from "../core/checkpoint.ts";
import { isTaken } from "../files/is-taken.ts";
import { listIfThere, unlessMissing } from "../files/read-file.ts";
import { isTemporaryName, temporaryName } from "../files/replace-file.ts";
import { syncDirectory } from "../files/sync-directory.ts";
import { writing } from "../files/writing.ts";
import { MANIFEST_NAME } from "../manifest/manifest.ts";

/** Written beside a finished checkpoint: what the job did. */
export const SUMMARY_NAME = "summary.json";

/** What is kept for a plan is in a folder of the job that begins so; the rest is the plan's identity. */
export const PLAN_PREFIX = "plan.";

/** In that folder as soon as the checkpoint's directory is ready for data. */
export const PREPARED_NAME = "prepared";

/** Where the state of job `number` is. A job with a larger number replaced those before it. */
export function jobPath(directory: string, number: number): string {
	return join(directory, STATE_NAME, `job.${number}`);
}

/**
 * Numbers of the jobs that `directory` has state of.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function jobNumbers(directory: string): Promise<readonly number[]> {
	const names = await listIfThere(join(directory, STATE_NAME));
	return names
		.map((name) => Number(/^job\.(\d+)$/.exec(name)?.[1] ?? 0))
		.filter((number) => number > 0);
}

/**
 * Number of the newest job in `directory`; 0 when there is none.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function newestJob(directory: string): Promise<number> {
	return Math.max(0, ...(await jobNumbers(directory)));
}

/**
 * A directory of the job's own; made by whoever comes first. Not recursive: what was removed as a whole must not come back in parts.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function makeStateDirectory(path: string): Promise<void> {
	await writing("create", path, async () => {
		try {
			await mkdir(path);
			// What lies in it is made durable in it; it must itself outlive a loss of power.
			await syncDirectory(dirname(path));
		} catch (error) {
			if (!(await isTaken(error, path))) throw error;
		}
	});
}

/** Name of what belongs to a share: five digits, so that listings are in order. */
export function shareName(share: number): string {
	return String(share).padStart(5, "0");
}

/** Of everything that is kept of a share while it is not done. */
export function sharePath(planPath: string, share: number): string {
	return join(planPath, shareName(share));
}

/** The share of that name; `undefined` for any other name. */
export function shareOfName(name: string): number | undefined {
	return /^\d{5,}$/.test(name) ? Number(name) : undefined;
}

/**
 * Removes all state from `directory`: it is gone at once, and what it occupied soon after.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function removeState(directory: string): Promise<void> {
	const root = join(directory, STATE_NAME);
	await writing("remove", root, () => unlessMissing(() => rename(root, temporaryName(root))));
	await removeLeftovers(directory);
}

/** Removes the state of one job that has not begun, and the directory of all state if nothing else is in it. Never fails. */
export async function removeJob(path: string): Promise<void> {
	const gone = temporaryName(path);
	try {
		await rename(path, gone);
		await rm(gone, { recursive: true, force: true });
		await rmdir(dirname(path));
	} catch {
		// What stays behind can be begun again.
	}
}

/** Names in a checkpoint's directory that appear or disappear by a rename, at the end of a job. */
const RENAMED_NAMES = [STATE_NAME, MANIFEST_NAME, SUMMARY_NAME, ".metadata"];

/** Removes what crashes in the middle of a commit left behind. The job is over: whoever still tries to commit it fails, rightly. */
export async function removeLeftovers(directory: string): Promise<void> {
	for (const name of await listIfThere(directory)) {
		const isOurs = RENAMED_NAMES.some((renamed) => name.startsWith(`${renamed}.`));
		if (!isOurs || !isTemporaryName(name)) continue;
		// What stays behind is in nobody's way.
		await rm(join(directory, name), { recursive: true, force: true }).catch(() => {});
	}
	// Empty if two that came late made it for a job that turned out to be finished; else it stays.
	await rmdir(join(directory, STATE_NAME)).catch(() => {});
}
