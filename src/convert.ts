import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { CHECKSUMS } from "./checksum/crc32.ts";
import { type EventListener, emitTo } from "./core/events.ts";
import type { WriteCounters } from "./core/ports.ts";
import { type CheckpointDirectory, openCheckpointDirectory } from "./dcp/checkpoint-directory.ts";
import { addWrites } from "./dcp/data-files.ts";
import { encodeMetadata } from "./dcp/metadata-writer.ts";
import { torchSaveFormat } from "./dcp/torch-save.ts";
import type { OpenedSource } from "./fetch/open-source.ts";
import { describeSource } from "./fetch/reopen-source.ts";
import { hubEnvironmentOf, inspectSource } from "./inspect.ts";
import { createLayout } from "./layout/create-layout.ts";
import { wholeQkvOf } from "./layout/fused-qkv.ts";
import { resolveParallelism } from "./layout/parallelism.ts";
import { mapModel } from "./models/map-model.ts";
import type { ConversionOptions, ConvertOptions } from "./options.ts";
import { checkpointIndexOf } from "./plan/checkpoint-index.ts";
import { createPlan } from "./plan/create-plan.ts";
import { limitsFor } from "./plan/limits.ts";
import { identityLines } from "./plan/plan-id.ts";
import type { Plan, PlanTotals } from "./plan/types.ts";
import { VERSION } from "./version.ts";
import type { ThreadsReason } from "./threads/choose-threads.ts";
import { type EventCounts, countEvents, type Transport } from "./threads/count-events.ts";
import { readMachine } from "./threads/machine.ts";
import {
	type PlannedThread,
	plannedThreads,
	planThreads,
	type ThreadsPlan,
} from "./threads/plan-threads.ts";
import { runShare, type ShareSummary } from "./threads/run-share.ts";
import { runThreads } from "./threads/run-threads.ts";

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
	/** What each thread would do on this machine: the whole plan when there is one. */
	readonly threads: readonly PlannedThread[];
	/** Why there are as many. */
	readonly threadsReason: ThreadsReason;
	/** What the user should know of the source, one sentence each. */
	readonly warnings: readonly string[];
}

/** What a finished conversion did. */
export interface ConvertSummary {
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	/** What was done. */
	readonly plan: Plan;
	/** What the plan promised. */
	readonly totals: PlanTotals;
	readonly sourceKind: OpenedSource["kind"];
	/** Name of the reshard back end. */
	readonly backend: string;
	readonly seconds: number;
	/** Weight bytes requested in this run; retried bytes are not counted twice. */
	readonly fetchedBytes: number;
	/** Requests for weight bytes in this run, without retries. */
	readonly requests: number;
	readonly retries: number;
	/** How the weight bytes came over the network. */
	readonly transport: Transport;
	readonly headerBytes: number;
	/** Bytes of tensor data written in this run. */
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
	/** Entries that an earlier, interrupted run had finished. */
	readonly resumedEntries: number;
	/** Most staging memory that was in use at once, added up over the threads. */
	readonly peakStagingBytes: number;
	/** What each thread did. */
	readonly threads: readonly ShareSummary[];
	/** Why there were as many. */
	readonly threadsReason: ThreadsReason;
	readonly warnings: readonly string[];
}

async function openAndPlan(
	options: ConversionOptions,
	onEvent: EventListener,
): Promise<{ opened: OpenedSource; plan: Plan; wholeQkvBytes: number }> {
	const limits = limitsFor(options.memoryBytes);
	onEvent({ kind: "phase", phase: "resolve" });
	const opened = await inspectSource({ ...options, onEvent });
	for (const message of opened.warnings) onEvent({ kind: "warning", message });
	try {
		onEvent({ kind: "phase", phase: "plan" });
		const { source } = opened;
		const map = mapModel({ source, family: options.family, target: options.target });
		const parallelism = resolveParallelism(options.parallelism);
		const layout = createLayout({ parallelism, rules: map.rules, facts: map.facts });
		const { dtype } = options;
		const plan = createPlan({ source, map, layout, format: torchSaveFormat, dtype, limits });
		const { rules } = map;
		const { tensors } = plan;
		return { opened, plan, wholeQkvBytes: wholeQkvOf({ tensors, layout, parallelism, rules }) };
	} catch (error) {
		await opened[Symbol.asyncDispose]();
		throw error;
	}
}

/**
 * Opens a source, reads its headers and plans the conversion.
 *
 * @throws {HfStreamDcpError} every error of the source, the family, the layout and the plan; see `docs/errors.md`.
 */
export async function prepareConversion(options: ConversionOptions): Promise<Preparation> {
	const { opened, plan, wholeQkvBytes } = await openAndPlan(options, emitTo(options.onEvent));
	const threads = planThreads(plan, demandOf(options, opened));
	return {
		plan,
		sourceKind: opened.kind,
		headerBytes: opened.headerBytes,
		metadataBytes: encodeMetadata(checkpointIndexOf(plan)).length,
		wholeQkvBytes,
		threads: plannedThreads(threads),
		threadsReason: threads.reason,
		warnings: opened.warnings,
		[Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
	};
}

/**
 * Converts a model into a checkpoint in `options.out`, or finishes a conversion that was interrupted there.
 *
 * @throws {HfStreamDcpError} see `docs/errors.md`; no `.metadata` is written then, and the same call continues.
 */
export async function convert(options: ConvertOptions): Promise<ConvertSummary> {
	const started = performance.now();
	const counts = countEvents(emitTo(options.onEvent));
	const { onEvent } = counts;
	const prepared = await openAndPlan(options, onEvent);
	const { plan, wholeQkvBytes } = prepared;
	await using opened = prepared.opened;
	const { fetchBytes, writeBytes, entries } = plan.totals;
	onEvent({ kind: "planned", fetchBytes, writeBytes, entries });
	const directory = resolve(options.out);
	await using owner = await openCheckpointDirectory({
		directory,
		planId: planIdOf(plan),
		entries: plan.entries,
		files: plan.files,
		overwrite: options.overwrite,
		tool: VERSION,
		onEvent,
	});
	const isFinished = (entry: number): boolean => owner.resumed.has(entry);
	const threads = planThreads(plan, demandOf(options, opened), isFinished);
	onEvent({ kind: "phase", phase: "stream" });
	const streamed = await stream(options, { opened, owner, directory, threads, counts });
	onEvent({ kind: "phase", phase: "commit" });
	const { metadataBytes } = await owner.commit(checkpointIndexOf(plan));
	const sum = (count: (thread: ShareSummary) => number): number =>
		streamed.reduce((total, thread) => total + count(thread), 0);
	return {
		directory,
		plan,
		totals: plan.totals,
		sourceKind: opened.kind,
		backend: streamed[0]?.backend ?? "",
		seconds: (performance.now() - started) / 1000,
		fetchedBytes: sum(({ fetchedBytes }) => fetchedBytes),
		requests: sum(({ requests }) => requests),
		retries: counts.retries,
		headerBytes: opened.headerBytes,
		transport: counts.transport,
		writtenBytes: sum(({ writtenBytes }) => writtenBytes),
		writes: addWrites(
			owner.writeMode,
			streamed.map(({ writes }) => writes),
		),
		copiedBytes: sum(({ copiedBytes }) => copiedBytes),
		checksums: CHECKSUMS,
		metadataBytes,
		wholeQkvBytes,
		resumedEntries: owner.resumed.size,
		peakStagingBytes: sum(({ peakStagingBytes }) => peakStagingBytes),
		threads: streamed,
		threadsReason: threads.reason,
		warnings: opened.warnings,
	};
}

/** What the number of threads depends on. */
function demandOf(
	{ threads, connections }: ConversionOptions,
	{ kind }: OpenedSource,
): Parameters<typeof planThreads>[1] {
	return { threads, connections, isRemote: kind === "hub", machine: readMachine() };
}

/** What the threads work with. */
interface StreamInputs {
	readonly opened: OpenedSource;
	readonly owner: CheckpointDirectory;
	readonly directory: string;
	readonly threads: ThreadsPlan;
	readonly counts: EventCounts;
}

/** Runs the shares: a single one in this thread, several in threads of their own. */
async function stream(
	{ environment, signal }: ConversionOptions,
	{ opened, owner, directory, threads, counts }: StreamInputs,
): Promise<readonly ShareSummary[]> {
	const { shares, connections } = threads;
	const { onEvent, receivedBytes } = counts;
	const [only] = shares;
	if (only !== undefined && shares.length === 1) {
		const before = counts.retries;
		const summary = await runShare({
			plan: only.plan,
			source: opened.bytes,
			directory,
			isFinished: (entry) => owner.resumed.has(entry),
			record: (finished) => owner.record(finished),
			writeMode: owner.writeMode,
			signal,
			onEvent,
		});
		return [{ ...summary, retries: counts.retries - before }];
	}
	return runThreads({
		shares,
		owner,
		directory,
		source: describeSource(opened),
		environment: hubEnvironmentOf(environment),
		connections,
		receivedBytes,
		signal,
		onEvent,
	});
}

/** 64 hex digits that change whenever the plan would write other bytes or put them elsewhere. */
function planIdOf(plan: Plan): string {
	const hash = createHash("sha256");
	for (const line of identityLines(plan)) hash.update(line).update("\n");
	return hash.digest("hex");
}
