import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { CHECKSUMS } from "../checksum/crc32.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { type EventListener, emitTo } from "../core/events.ts";
import type { OpenedSource } from "../fetch/open-source.ts";
import { hubEnvironmentOf } from "../inspect.ts";
import { type CommitInputs, commitJob } from "../job/commit.ts";
import { endedElsewhere, giveUp, type Job, joinJob } from "../job/job.ts";
import { openJobSource } from "../job/source-store.ts";
import { type PreparedJob, prepareJob } from "../job/prepare.ts";
import { unfinishedShares } from "../job/share-turns.ts";
import { type LayoutChoice, readLayoutChoice } from "./layout-choice.ts";
import { assertHoldersKnown, ownPartOf, ranksOf } from "./local-output.ts";
import type { ConvertOptions } from "../options.ts";
import { checkpointIndexOf } from "../plan/checkpoint-index.ts";
import { shareFactsOf } from "../plan/share-facts.ts";
import { runJob } from "./run-job.ts";
import type { Plan } from "../plan/types.ts";
import { VERSION } from "../version.ts";
import { countEvents, type EventCounts } from "../threads/count-events.ts";
import { demandOf, planConversion } from "./plan-conversion.ts";
import type { GpuFacts } from "../core/device.ts";
import { createDeviceRun } from "../threads/device-run.ts";
import { chooseDeviceFor, gpuAskedFor } from "./choose-device.ts";
import { commandOf, jobPlanOf } from "./job-plan.ts";
import { manifestOf } from "./manifest.ts";
import { readFamily } from "./family/read-family.ts";
import { type ConvertSummary, type FoundSummary, workOf } from "./summary.ts";

/**
 * Converts a model into a checkpoint in `options.out`, or finishes a conversion that was interrupted there: as the only worker, or as
 * one of many, in other processes and on other machines, that share the directory and nothing else.
 *
 * @throws {HfStreamDcpError} see `docs/errors.md`; no `.metadata` is written then, and the same call continues.
 */
export async function convert(input: ConvertOptions): Promise<ConvertSummary | FoundSummary> {
	const started = performance.now();
	const options = { ...input, family: await readFamily(input.family) };
	const counts = countEvents(emitTo(options.onEvent));
	const { onEvent } = counts;
	const directory = resolve(options.out);
	const choice = await readLayoutChoice(options);
	if (options.localOutput) assertHoldersKnown(choice);
	if (choice.kind === "like") await refuseOwnLayout(directory, choice.path);
	const gpu = await gpuAskedFor(options);
	const joined = await joinJob({
		directory,
		// A directory of one's own is a job of one's own.
		worker: options.localOutput ? { index: 0, count: 1 } : options.worker,
		command: commandOf(options, choice),
		overwrite: options.overwrite,
		takeover: options.takeover,
		leaseMs: options.leaseSeconds * 1000,
		tool: VERSION,
		signal: options.signal,
		onEvent,
	});
	if ("finished" in joined) return { outcome: "found", directory, job: joined.finished };
	const { job } = joined;
	try {
		const work = await takePart(options, choice, job, counts, gpu);
		return { ...work, directory, seconds: (performance.now() - started) / 1000 };
	} catch (error) {
		options.signal?.throwIfAborted();
		// Whoever commits removes the job's state, also under the hands of a worker that came late or was away.
		const ended = await endedElsewhere(job).catch(() => undefined);
		if (ended !== undefined) return { outcome: "found", directory, job: ended };
		await giveUp(job);
		throw error;
	}
}

/**
 * Refuses to write over the checkpoint that the layout is read from: a worker that comes later, or the same command after a stop, would
 * not find it.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID`
 */
async function refuseOwnLayout(directory: string, like: string): Promise<void> {
	const [out, from] = await Promise.all(
		[directory, like].map((path) => realpath(path).catch(() => path)),
	);
	if (out !== from) return;
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${directory} is both the output and the checkpoint whose layout is taken`,
		{ hint: "Choose another output directory.", facts: { directory } },
	);
}

/** What one worker does for the job, from the source to the commit. */
async function takePart(
	options: ConvertOptions,
	choice: LayoutChoice,
	joined: Job,
	counts: EventCounts,
	gpu: GpuFacts | undefined,
): Promise<Omit<ConvertSummary, "directory" | "seconds">> {
	const { onEvent } = counts;
	const open = (): Promise<OpenedSource> => openSourceOf(joined, options, onEvent);
	const prepared = await planConversion(options, choice, onEvent, joined.record.shares, open);
	const { plan, layout, origin, wholeQkvBytes } = prepared;
	await using opened = prepared.opened;
	const ranks = ranksOf(options, plan.worldSize);
	const part = ownPartOf(plan, layout, ranks);
	const own = part.plan;
	const facts = shareFactsOf(own);
	const job = await prepareJob(joined, jobPlanOf(own, facts));
	onEvent({ kind: "phase", phase: "stream" });
	const demand = demandOf(options, opened);
	const question = { gpu, mayLook: true, workers: own.shares };
	const deviceChoice = await chooseDeviceFor(options, own, demand, question);
	const device = createDeviceRun(deviceChoice, onEvent);
	const shares = await runJob({ options, opened, plan: own, facts, job, demand, device, counts });
	const manifest = manifestOf({ options, choice, prepared, part, ranks });
	const ended = await endJob(job, plan, manifest, onEvent);
	return {
		...workOf(shares, deviceChoice),
		...ended,
		ranks,
		plan,
		totals: own.totals,
		sourceKind: opened.kind,
		retries: counts.retries,
		headerBytes: opened.headerBytes,
		transport: counts.transport,
		checksums: CHECKSUMS,
		metadataBytes: ended.job?.metadataBytes ?? 0,
		wholeQkvBytes,
		layoutOrigin: origin,
		warnings: opened.warnings,
	};
}

/** The source, of which one worker asks for all. */
function openSourceOf(
	{ path, holder, options: { leaseMs } }: Job,
	{ repo, revision, environment, connections, signal }: ConvertOptions,
	onEvent: EventListener,
): Promise<OpenedSource> {
	return openJobSource({
		repo,
		revision,
		environment: hubEnvironmentOf(environment),
		connections,
		signal,
		onEvent,
		stateDirectory: path,
		holder,
		leaseMs,
	});
}

/** Commits the checkpoint if nothing is left to do. */
async function endJob(
	job: PreparedJob,
	plan: Plan,
	manifest: CommitInputs["manifest"],
	onEvent: EventListener,
): Promise<Pick<ConvertSummary, "outcome" | "job">> {
	const ended = await endedElsewhere(job);
	if (ended !== undefined) return { outcome: "others", job: ended };
	if ((await unfinishedShares(job)).length > 0) return { outcome: "left", job: undefined };
	onEvent({ kind: "phase", phase: "commit" });
	const { summary, isOwn } = await commitJob(job, {
		index: () => checkpointIndexOf(plan),
		commit: plan.source.commit,
		manifest,
	});
	return { outcome: isOwn ? "committed" : "others", job: summary };
}
