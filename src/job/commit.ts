import { createHash } from "node:crypto";
import { readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointIndex } from "../core/checkpoint.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import type { EntrySums } from "../core/ports.ts";
import { encodeMetadata } from "../dcp/metadata-writer.ts";
import { forEachAtOnce } from "../files/concurrently.ts";
import { listIfThere } from "../files/read-file.ts";
import { replaceFile, type StagedFile, stageFile } from "../files/replace-file.ts";
import { writing } from "../files/writing.ts";
import { encodeManifest, type ManifestInput } from "../manifest/encode.ts";
import { type Manifest, MANIFEST_NAME } from "../manifest/manifest.ts";
import { awaitClaim } from "./await-claim.ts";
import { type Claim, claimsOn } from "./claims.ts";
import { readEntrySums } from "./entry-sums.ts";
import { endedElsewhere } from "./job.ts";
import { findDataFiles } from "./output.ts";
import type { PreparedJob } from "./prepare.ts";
import { removeState, shareName, shareOfName, SUMMARY_NAME } from "./state.ts";
import type { JobSummary, ShareReport } from "../core/job-summary.ts";
import { formatSummary, workersOf } from "./summary.ts";

/** What a commit needs beyond the state of the job. */
export interface CommitInputs {
	/** What `.metadata` has to say. */
	readonly index: () => CheckpointIndex;
	/** Commit of the source. */
	readonly commit: string;
	/** What the manifest has to say. Without it none is written. */
	readonly manifest?: ((ended: EndedJob) => ManifestInput) | undefined;
}

/** What only the end of a job tells. */
export interface EndedJob {
	readonly summary: JobSummary;
	/** The `.metadata` that will be written. */
	readonly metadata: Manifest["metadata"];
	/** What was found of the data of entry `index` of a share. */
	readonly sumsOf: (share: number, index: number) => EntrySums;
}

/**
 * Makes it a checkpoint, once every share is done: writes the manifest, `summary.json` and `.metadata` and removes the job's state. One worker does so;
 * the others wait for it, and one of them takes over should it die.
 *
 * @returns What the job did, and whether this process committed it.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`, also when a data file has disappeared; there is no `.metadata` then.
 */
export async function commitJob(
	job: PreparedJob,
	inputs: CommitInputs,
): Promise<{ readonly summary: JobSummary; readonly isOwn: boolean }> {
	const { options, timers, everyMs } = job;
	const claims = claimsOn(job, join(job.planPath, "commit"));
	let ended: JobSummary | undefined;
	const isDone = async (): Promise<boolean> => {
		ended = await endedElsewhere(job);
		return ended !== undefined;
	};
	const turn = await awaitClaim(claims, { isDone, everyMs, signal: options.signal, timers });
	if (turn === undefined) {
		if (ended === undefined) throw new Error("internal error: a commit without an end");
		return { summary: ended, isOwn: false };
	}
	try {
		const summary = await commitNow(job, inputs, turn.claim);
		return { summary, isOwn: true };
	} finally {
		await turn.claim.release();
	}
}

async function commitNow(
	job: PreparedJob,
	{ index, commit, manifest }: CommitInputs,
	claim: Claim,
): Promise<JobSummary> {
	const { directory } = job.options;
	await findAllFiles(job);
	const reports = await readReports(job);
	const bytes = encodeMetadata(index());
	const summary = summaryOf(job, reports, { commit, metadataBytes: bytes.length });
	await using staged =
		manifest === undefined
			? undefined
			: await stageManifest(job, reports, (sumsOf) =>
					manifest({ summary, metadata: digestOf(bytes), sumsOf }),
				);
	// Stopped for long, and another has committed meanwhile? What would be written is the same, but the directory may be another job's.
	if (await claim.isLost()) {
		throw new HfStreamDcpError("SHARE_TAKEN_OVER", "another worker has taken over the commit", {
			hint: "This worker gave no sign of life for a while.",
			facts: { directory },
		});
	}
	// First: a directory with `.metadata` says by whom it was made, and what of.
	await staged?.publish();
	await replaceFile(join(directory, SUMMARY_NAME), Buffer.from(formatSummary(summary)));
	await replaceFile(join(directory, ".metadata"), bytes);
	// Network file systems keep a file that is open when it is removed, under another name, and so its folder.
	await claim.fallSilent();
	await removeState(directory);
	return summary;
}

/** Writes the manifest under a name of its own: that may take long, and whether it may be put in place is asked after it. */
async function stageManifest(
	job: PreparedJob,
	reports: readonly ShareReport[],
	describe: (sumsOf: EndedJob["sumsOf"]) => ManifestInput,
): Promise<StagedFile> {
	const sumsOf = await readEntrySums(job, reports);
	const path = join(job.options.directory, MANIFEST_NAME);
	return await stageFile(path, encodeManifest(describe(sumsOf)));
}

function digestOf(bytes: Uint8Array): Manifest["metadata"] {
	return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

function summaryOf(
	{ plan, record, options }: PreparedJob,
	reports: readonly ShareReport[],
	known: Pick<JobSummary, "commit" | "metadataBytes">,
): JobSummary {
	const workers = workersOf(reports);
	const files = plan.shares.flatMap((share) => share.files);
	const sum = (of: (worker: (typeof workers)[number]) => number): number =>
		workers.reduce((total, worker) => total + of(worker), 0);
	const now = Date.now();
	return {
		format: "hf-stream-dcp summary 1",
		tool: options.tool,
		command: record.command,
		planId: plan.planId,
		commit: known.commit,
		begun: new Date(record.begunAt).toISOString(),
		ended: new Date(now).toISOString(),
		seconds: Math.max(0, now - record.begunAt) / 1000,
		shares: plan.shares.length,
		dataBytes: files.reduce((total, file) => total + file.bytes, 0),
		files: files.length,
		metadataBytes: known.metadataBytes,
		fetchedBytes: sum(({ fetchedBytes }) => fetchedBytes),
		requests: sum(({ requests }) => requests),
		retries: sum(({ retries }) => retries),
		takeovers: sum(({ takeovers }) => takeovers),
		workers,
	};
}

/** Makes sure that every data file is there. A share that lost one is not done: the next run of the command makes it again. */
async function findAllFiles({ plan, options, donePath }: PreparedJob): Promise<void> {
	for (const [share, { files }] of plan.shares.entries()) {
		try {
			await findDataFiles(options.directory, files);
		} catch (error) {
			await unlink(join(donePath, shareName(share))).catch(() => {});
			throw error;
		}
	}
}

async function readReports({ donePath }: PreparedJob): Promise<readonly ShareReport[]> {
	const names = (await listIfThere(donePath)).filter((name) => shareOfName(name) !== undefined);
	const reports: ShareReport[] = [];
	await forEachAtOnce(names, async (name) => {
		const path = join(donePath, name);
		const text = await writing("read", path, () => readFile(path, "utf8"));
		reports.push(JSON.parse(text) as ShareReport);
	});
	return reports;
}
