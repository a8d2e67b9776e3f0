import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { CHECKSUMS } from "./checksum/crc32.ts";
import { type EventListener, emitTo, type ProgressEvent } from "./core/events.ts";
import type { WriteCounters } from "./core/ports.ts";
import { openCheckpointWriter } from "./dcp/checkpoint-writer.ts";
import { encodeMetadata } from "./dcp/metadata-writer.ts";
import { torchSaveFormat } from "./dcp/torch-save.ts";
import type { OpenedSource } from "./fetch/open-source.ts";
import { inspectSource } from "./inspect.ts";
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
import { createCpuBackend } from "./stream/cpu/backend.ts";
import { runPlan } from "./stream/run-plan.ts";
import { VERSION } from "./version.ts";

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
	/** Most staging memory that was in use at once. */
	readonly peakStagingBytes: number;
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
	return {
		plan,
		sourceKind: opened.kind,
		headerBytes: opened.headerBytes,
		metadataBytes: encodeMetadata(checkpointIndexOf(plan)).length,
		wholeQkvBytes,
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
	let retries = 0;
	const forward = emitTo(options.onEvent);
	const onEvent = (event: ProgressEvent): void => {
		if (event.kind === "retry") retries++;
		forward(event);
	};
	const prepared = await openAndPlan(options, onEvent);
	const { plan, wholeQkvBytes } = prepared;
	await using opened = prepared.opened;
	const { fetchBytes, writeBytes } = plan.totals;
	onEvent({ kind: "planned", fetchBytes, writeBytes, entries: plan.totals.entries });
	const directory = resolve(options.out);
	const { entries, files } = plan;
	await using sink = await openCheckpointWriter({
		directory,
		planId: planIdOf(plan),
		entries,
		files,
		overwrite: options.overwrite,
		tool: VERSION,
		onEvent,
	});
	await using backend = createCpuBackend();
	onEvent({ kind: "phase", phase: "stream" });
	const { signal } = options;
	const streamed = await runPlan({ plan, source: opened.bytes, backend, sink, signal, onEvent });
	onEvent({ kind: "phase", phase: "commit" });
	const index = checkpointIndexOf(plan);
	const { metadataBytes } = await sink.commit(index);
	return {
		directory,
		plan,
		totals: plan.totals,
		sourceKind: opened.kind,
		backend: backend.name,
		seconds: (performance.now() - started) / 1000,
		fetchedBytes: streamed.fetchedBytes,
		requests: streamed.requests,
		retries,
		headerBytes: opened.headerBytes,
		writtenBytes: streamed.writtenBytes,
		writes: { ...sink.writes },
		copiedBytes: streamed.copiedBytes,
		checksums: CHECKSUMS,
		metadataBytes,
		wholeQkvBytes,
		resumedEntries: sink.resumedEntries,
		peakStagingBytes: streamed.peakStagingBytes,
		warnings: opened.warnings,
	};
}

/** 64 hex digits that change whenever the plan would write other bytes or put them elsewhere. */
function planIdOf(plan: Plan): string {
	const hash = createHash("sha256");
	for (const line of identityLines(plan)) hash.update(line).update("\n");
	return hash.digest("hex");
}
