import { emitTo } from "../core/events.ts";
import { encodeMetadata } from "../dcp/metadata-writer.ts";
import type { OpenedSource } from "../fetch/open-source.ts";
import { inspectSource } from "../inspect.ts";
import {
	assertHoldersKnown,
	type LocalOutputCost,
	ownPartOf,
	plannedLocally,
} from "./local-output.ts";
import { readFamily } from "./family/read-family.ts";
import { chooseDeviceFor, gpuAskedFor } from "./choose-device.ts";
import type { LayoutOrigin } from "./arrange-model.ts";
import { readLayoutChoice } from "./layout-choice.ts";
import { ranksOfWorker } from "../plan/held-entries.ts";
import type { ConversionOptions } from "../options.ts";
import { checkpointIndexOf } from "../plan/checkpoint-index.ts";
import { type Coverage, coverageOf } from "../plan/coverage.ts";
import { shareOf } from "../plan/share.ts";
import type { Balance } from "../plan/share-facts.ts";
import { type HolderSets, holderSetsOf } from "../plan/holder-sets.ts";
import type { ReportMesh } from "../report/report-data.ts";
import { meshesOf } from "./report-meshes.ts";
import { type PlannedWorker, plannedWorkersOf } from "./planned-workers.ts";
import type { Plan } from "../plan/types.ts";
import type { DeviceChoice } from "../threads/choose-device.ts";
import type { ThreadsReason } from "../threads/choose-threads.ts";
import { type PlannedThread, plannedThreads, planThreads } from "../threads/plan-threads.ts";
import { demandOf, planConversion } from "./plan-conversion.ts";

/** What a conversion would do; nothing of the weights was fetched. Dispose of it to close its connections. */
export interface Preparation extends AsyncDisposable {
	readonly plan: Plan;
	/** Where the bytes come from. */
	readonly sourceKind: OpenedSource["kind"];
	/** What becomes of every source tensor. */
	readonly coverage: Coverage;
	/** Header bytes read from the source. */
	readonly headerBytes: number;
	/** Size of `.metadata`. */
	readonly metadataBytes: number;
	/** Bytes of `wq`, `wk`, `wv` that a rank will read whole because its model fuses QKV: the most of any rank. */
	readonly wholeQkvBytes: number;
	/** Where the layout came from, if not from a mesh, and what of it is left out. */
	readonly layoutOrigin?: LayoutOrigin | undefined;
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
	/** What each worker would reshard with on this machine. */
	readonly device: DeviceChoice;
	/** What the user should know of the source, one sentence each. */
	readonly warnings: readonly string[];
	/** The mesh, and that of the routed experts where it is another; empty for a layout that does not come from a mesh. */
	readonly meshes: readonly ReportMesh[];
	/** Which ranks hold each entry of the plan. */
	readonly holders: () => HolderSets;
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
export async function prepareConversion(input: PrepareOptions): Promise<Preparation> {
	const options = { ...input, family: await readFamily(input.family) };
	const onEvent = emitTo(options.onEvent);
	const open = (): Promise<OpenedSource> => inspectSource({ ...options, onEvent });
	const { workers = 1, localOutput = false } = options;
	const shares = localOutput ? 1 : workers;
	const choice = await readLayoutChoice(options);
	if (localOutput) assertHoldersKnown(choice);
	const gpu = await gpuAskedFor(options);
	const prepared = await planConversion(options, choice, onEvent, shares, open);
	const { opened, plan, layout, origin, wholeQkvBytes } = prepared;
	const planned = localOutput ? plannedLocally(plan, layout, workers) : plannedWorkersOf(plan);
	const first = localOutput
		? ownPartOf(plan, layout, ranksOfWorker(plan.worldSize, { index: 0, count: workers })).plan
		: shareOf(plan, 0).plan;
	const demand = demandOf(options, opened);
	const threads = planThreads(first, demand);
	return {
		plan,
		sourceKind: opened.kind,
		coverage: coverageOf(opened.source, plan),
		headerBytes: opened.headerBytes,
		metadataBytes: encodeMetadata(checkpointIndexOf(plan)).length,
		wholeQkvBytes,
		layoutOrigin: origin,
		...planned,
		threads: plannedThreads(threads),
		threadsReason: threads.reason,
		device: await chooseDeviceFor(options, first, demand, { gpu, mayLook: false, workers: 1 }),
		warnings: opened.warnings,
		meshes: choice.kind === "mesh" ? meshesOf(choice.parallelism) : [],
		holders: () => holderSetsOf(plan, layout),
		[Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
	};
}
