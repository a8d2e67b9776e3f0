import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { CHECKSUMS } from "./checksum/crc32.ts";
import { type EventListener, emitTo } from "./core/events.ts";
import type { WriteCounters } from "./core/ports.ts";
import { addWrites } from "./dcp/data-files.ts";
import { encodeMetadata } from "./dcp/metadata-writer.ts";
import { torchSaveFormat } from "./dcp/torch-save.ts";
import type { OpenedSource } from "./fetch/open-source.ts";
import { hubEnvironmentOf, inspectSource } from "./inspect.ts";
import { commitJob } from "./job/commit.ts";
import { endedElsewhere, giveUp, type Job, joinJob } from "./job/job.ts";
import { openJobSource } from "./job/source-store.ts";
import type { CommandFacts } from "./job/manifest.ts";
import { type JobPlan, type PreparedJob, prepareJob } from "./job/prepare.ts";
import { unfinishedShares } from "./job/share-turns.ts";
import type { JobSummary } from "./job/summary.ts";
import {
	formatRanks,
	type LocalOutputCost,
	ownPlanOf,
	plannedLocally,
	ranksOf,
} from "./local-output.ts";
import type { Layout } from "./core/layout.ts";
import { ranksOfWorker } from "./plan/held-entries.ts";
import { createLayout } from "./layout/create-layout.ts";
import { wholeQkvOf } from "./layout/fused-qkv.ts";
import { resolveParallelism } from "./layout/parallelism.ts";
import { mapModel } from "./models/map-model.ts";
import type { ConversionOptions, ConvertOptions } from "./options.ts";
import { checkpointIndexOf } from "./plan/checkpoint-index.ts";
import { createPlan } from "./plan/create-plan.ts";
import { limitsFor } from "./plan/limits.ts";
import { identityLines } from "./plan/plan-id.ts";
import { shareOf } from "./plan/share.ts";
import type { Balance } from "./plan/share-facts.ts";
import { type PlannedWorker, plannedWorkersOf } from "./planned-workers.ts";
import { runJob, type WorkedShare } from "./run-job.ts";
import type { Plan, PlanTotals } from "./plan/types.ts";
import { VERSION } from "./version.ts";
import type { ThreadsReason } from "./threads/choose-threads.ts";
import { at } from "./core/shape.ts";
import { countEvents, type EventCounts, type Transport } from "./threads/count-events.ts";
import { partOfMachine, readMachine } from "./threads/machine.ts";
import { type PlannedThread, plannedThreads, planThreads } from "./threads/plan-threads.ts";
import type { ShareSummary } from "./threads/run-share.ts";

/** What a conversion would do; nothing of the weights was fetched. Dispose of it to close its connections. */
export interface Preparation extends AsyncDisposable {
	readonly plan: Plan;
	/** Where the bytes come from. */
	readonly sourceKind: OpenedSource["kind"];
	/** Header bytes read from the source. */
	readonly headerBytes: number;
	/** Size of `.metadata`. */
	readonly metadataBytes: number;
	/** Bytes of `wq`, `wk`, `wv` that a rank will read whole because its model fuses QKV: the most of any rank. */
	readonly wholeQkvBytes: number;
	/** What each worker would do: the whole plan when there is one. */
	readonly workers: readonly PlannedWorker[];
	/** How even that is. */
	readonly balance: Balance;
	/** What it costs that every worker writes to a disk of its own, if it does. */
	readonly local?: LocalOutputCost | undefined;
	/** What each thread of the first worker would do on this machine: all of its share when there is one. */
	readonly threads: readonly PlannedThread[];
	/** Why there are as many. */
	readonly threadsReason: ThreadsReason;
	/** What the user should know of the source, one sentence each. */
	readonly warnings: readonly string[];
}

/** What a worker did for a checkpoint that is whole now, or will be when others are done. */
export interface ConvertSummary {
	/**
	 * `committed`: this worker wrote the last of it. `others`: another one did, while this one was there. `left`: shares of others are
	 * unfinished, which it does not take over.
	 */
	readonly outcome: "committed" | "others" | "left";
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	/** Ranks of the training job whose entries are in the directory; `undefined` when all are. */
	readonly ranks: readonly number[] | undefined;
	/** What all workers did; `undefined` when shares are left. */
	readonly job: JobSummary | undefined;
	/** The whole plan. */
	readonly plan: Plan;
	/** What the plan promised: of the part that is in the directory. */
	readonly totals: PlanTotals;
	readonly sourceKind: OpenedSource["kind"];
	/** Name of the reshard back end. */
	readonly backend: string;
	readonly seconds: number;
	/** Weight bytes requested by this worker; retried bytes are not counted twice. */
	readonly fetchedBytes: number;
	/** Requests for weight bytes by this worker, without retries. */
	readonly requests: number;
	readonly retries: number;
	/** How the weight bytes came over the network. */
	readonly transport: Transport;
	readonly headerBytes: number;
	/** Bytes of tensor data written by this worker. */
	readonly writtenBytes: number;
	/** How the data files were written, prefixes and suffixes of entries included. */
	readonly writes: WriteCounters;
	/** Bytes of tensor data that were gathered, converted or moved into phase before they were written. */
	readonly copiedBytes: number;
	/** What computed the checksums: the native package, or Node's zlib. */
	readonly checksums: typeof CHECKSUMS;
	readonly metadataBytes: number;
	/** As in {@link Preparation}. */
	readonly wholeQkvBytes: number;
	/** Entries of its shares that earlier attempts had finished. */
	readonly resumedEntries: number;
	/** Most staging memory that was in use at once, added up over the threads. */
	readonly peakStagingBytes: number;
	/** What it did, share by share. */
	readonly shares: readonly WorkedShare[];
	/** What the threads did that worked on its first share. */
	readonly threads: readonly ShareSummary[];
	/** Why there were as many. */
	readonly threadsReason: ThreadsReason;
	readonly warnings: readonly string[];
}

/** A checkpoint that the same command finished before. */
export interface FoundSummary {
	readonly outcome: "found";
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	readonly job: JobSummary;
}

async function openAndPlan(
	options: ConversionOptions,
	onEvent: EventListener,
	shares: number,
	open: () => Promise<OpenedSource>,
): Promise<{ opened: OpenedSource; plan: Plan; layout: Layout; wholeQkvBytes: number }> {
	const limits = limitsFor(options.memoryBytes);
	onEvent({ kind: "phase", phase: "resolve" });
	const opened = await open();
	for (const message of opened.warnings) onEvent({ kind: "warning", message });
	try {
		onEvent({ kind: "phase", phase: "plan" });
		const { source } = opened;
		const map = mapModel({ source, family: options.family, target: options.target });
		const parallelism = resolveParallelism(options.parallelism);
		const layout = createLayout({ parallelism, rules: map.rules, facts: map.facts });
		const { dtype } = options;
		const format = torchSaveFormat;
		const plan = createPlan({ source, map, layout, format, dtype, limits, shares });
		const { rules } = map;
		const { tensors } = plan;
		const wholeQkvBytes = wholeQkvOf({ tensors, layout, parallelism, rules });
		return { opened, plan, layout, wholeQkvBytes };
	} catch (error) {
		await opened[Symbol.asyncDispose]();
		throw error;
	}
}

/** What a conversion would be: as a job of how many workers. */
export interface PrepareOptions extends ConversionOptions {
	/** Workers of the job; the plan is cut for as many. @default 1 */
	readonly workers?: number | undefined;
	/** Whether every worker writes to a disk of its own. @default false */
	readonly localOutput?: boolean | undefined;
}

/**
 * Opens a source, reads its headers and plans the conversion.
 *
 * @throws {HfStreamDcpError} every error of the source, the family, the layout and the plan; see `docs/errors.md`.
 */
export async function prepareConversion(options: PrepareOptions): Promise<Preparation> {
	const onEvent = emitTo(options.onEvent);
	const open = (): Promise<OpenedSource> => inspectSource({ ...options, onEvent });
	const { workers = 1, localOutput = false } = options;
	const shares = localOutput ? 1 : workers;
	const prepared = await openAndPlan(options, onEvent, shares, open);
	const { opened, plan, layout, wholeQkvBytes } = prepared;
	const planned = localOutput ? plannedLocally(plan, layout, workers) : plannedWorkersOf(plan);
	const first = localOutput
		? ownPlanOf(plan, layout, ranksOfWorker(plan.worldSize, { index: 0, count: workers }))
		: shareOf(plan, 0).plan;
	const threads = planThreads(first, demandOf(options, opened));
	return {
		plan,
		sourceKind: opened.kind,
		headerBytes: opened.headerBytes,
		metadataBytes: encodeMetadata(checkpointIndexOf(plan)).length,
		wholeQkvBytes,
		...planned,
		threads: plannedThreads(threads),
		threadsReason: threads.reason,
		warnings: opened.warnings,
		[Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
	};
}

/**
 * Converts a model into a checkpoint in `options.out`, or finishes a conversion that was interrupted there: as the only worker, or as
 * one of many, in other processes and on other machines, that share the directory and nothing else.
 *
 * @throws {HfStreamDcpError} see `docs/errors.md`; no `.metadata` is written then, and the same call continues.
 */
export async function convert(options: ConvertOptions): Promise<ConvertSummary | FoundSummary> {
	const started = performance.now();
	const counts = countEvents(emitTo(options.onEvent));
	const { onEvent } = counts;
	const directory = resolve(options.out);
	const joined = await joinJob({
		directory,
		// A directory of one's own is a job of one's own.
		worker: options.localOutput ? { index: 0, count: 1 } : options.worker,
		command: commandOf(options),
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
		const work = await takePart(options, job, counts);
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

/** What one worker does for the job, from the source to the commit. */
async function takePart(
	options: ConvertOptions,
	joined: Job,
	counts: EventCounts,
): Promise<Omit<ConvertSummary, "directory" | "seconds">> {
	const { onEvent } = counts;
	const open = (): Promise<OpenedSource> => openSourceOf(joined, options, onEvent);
	const prepared = await openAndPlan(options, onEvent, joined.manifest.shares, open);
	const { plan, layout, wholeQkvBytes } = prepared;
	await using opened = prepared.opened;
	const ranks = ranksOf(options, plan.worldSize);
	const own = ownPlanOf(plan, layout, ranks);
	const job = await prepareJob(joined, jobPlanOf(own));
	onEvent({ kind: "phase", phase: "stream" });
	const demand = demandOf(options, opened);
	const shares = await runJob({ options, opened, plan: own, job, demand, counts });
	const ended = await endJob(job, plan, onEvent);
	return {
		...workOf(shares),
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
		warnings: opened.warnings,
	};
}

/** The source, of which one worker asks for all. */
function openSourceOf(
	{ path, options: { worker, leaseMs } }: Job,
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
		holder: `worker ${worker.index}`,
		leaseMs,
	});
}

/** Commits the checkpoint if nothing is left to do. */
async function endJob(
	job: PreparedJob,
	plan: Plan,
	onEvent: EventListener,
): Promise<Pick<ConvertSummary, "outcome" | "job">> {
	const ended = await endedElsewhere(job);
	if (ended !== undefined) return { outcome: "others", job: ended };
	if ((await unfinishedShares(job)).length > 0) return { outcome: "left", job: undefined };
	onEvent({ kind: "phase", phase: "commit" });
	const { summary, isOwn } = await commitJob(job, {
		index: () => checkpointIndexOf(plan),
		commit: plan.source.commit,
	});
	return { outcome: isOwn ? "committed" : "others", job: summary };
}

/** What all shares of a worker come to. */
function workOf(
	shares: readonly WorkedShare[],
): Pick<
	ConvertSummary,
	| "backend"
	| "fetchedBytes"
	| "requests"
	| "writtenBytes"
	| "writes"
	| "copiedBytes"
	| "resumedEntries"
	| "peakStagingBytes"
	| "shares"
	| "threads"
	| "threadsReason"
> {
	const all = shares.flatMap(({ threads }) => threads);
	const sum = (of: (thread: ShareSummary) => number): number =>
		all.reduce((total, thread) => total + of(thread), 0);
	const [first] = shares;
	const peaks = shares.map(({ threads }) =>
		threads.reduce((total, { peakStagingBytes }) => total + peakStagingBytes, 0),
	);
	return {
		backend: all[0]?.backend ?? "",
		fetchedBytes: sum(({ fetchedBytes }) => fetchedBytes),
		requests: sum(({ requests }) => requests),
		writtenBytes: sum(({ writtenBytes }) => writtenBytes),
		writes: addWrites(
			all[0]?.writes.mode ?? "buffered",
			all.map(({ writes }) => writes),
		),
		copiedBytes: sum(({ copiedBytes }) => copiedBytes),
		resumedEntries: shares.reduce((total, { resumedEntries }) => total + resumedEntries, 0),
		peakStagingBytes: Math.max(0, ...peaks),
		shares,
		threads: first?.threads ?? [],
		threadsReason: first?.threadsReason ?? "parts",
	};
}

/** What makes a command the same command. Where a path leads is the same on all machines of a job. */
function commandOf(options: ConvertOptions): CommandFacts {
	const { repo, revision = "main", family = "by config.json", target, dtype } = options;
	const parallelism = resolveParallelism(options.parallelism);
	const { schedule, division, dpReplicate, dpShard, tp, cp, pp, ep, etp } = parallelism;
	const degrees = { dpReplicate, dpShard, tp, cp, pp, ep, etp };
	const ranks = ranksOf(options, parallelism.worldSize);
	return {
		model: repo,
		revision,
		family,
		target,
		dtype,
		mesh: Object.entries(degrees)
			.map(([name, degree]) => `${name} ${degree}`)
			.join(", "),
		pipeline: pp === 1 ? "none" : JSON.stringify({ schedule, division }),
		version: VERSION,
		...(ranks === undefined ? {} : { ranks: formatRanks(ranks) }),
	};
}

function jobPlanOf(plan: Plan): JobPlan {
	const shares = Array.from({ length: plan.shares }, () => {
		return { entries: 0, files: [] as { readonly name: string; readonly bytes: number }[] };
	});
	const owners = new Map<string, number>();
	for (const { file, share } of plan.entries) {
		at(shares, share).entries++;
		owners.set(file, share);
	}
	for (const file of plan.files) at(shares, owners.get(file.name) ?? 0).files.push(file);
	return { planId: planIdOf(plan), shares };
}

/** What the number of threads depends on. */
function demandOf(
	{ threads, connections, localWorkers }: ConversionOptions,
	{ kind }: OpenedSource,
): Parameters<typeof planThreads>[1] {
	const machine = partOfMachine(readMachine(), localWorkers);
	return { threads, connections, isRemote: kind === "hub", machine };
}

/** 64 hex digits that change whenever the plan would write other bytes or put them elsewhere. */
function planIdOf(plan: Plan): string {
	const hash = createHash("sha256");
	for (const line of identityLines(plan)) hash.update(line).update("\n");
	return hash.digest("hex");
}
