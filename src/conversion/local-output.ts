import { HfStreamDcpError } from "../core/errors.ts";
import type { Layout } from "../core/layout.ts";
import { countSilentRanks } from "../layout/layout-file.ts";
import type { ConvertOptions } from "../options.ts";
import { ranksOfWorker } from "../plan/held-entries.ts";
import { type LocalCost, localSharesOf } from "../plan/local-share.ts";
import type { PlanShare } from "../plan/share.ts";
import { type Balance, balanceOf } from "../plan/share-facts.ts";
import type { Plan } from "../plan/types.ts";
import type { LayoutChoice } from "./layout-choice.ts";
import type { PlannedWorker } from "./planned-workers.ts";

/** What it costs that every worker writes to a disk of its own, beyond one conversion for all. Bytes. */
export type LocalOutputCost = Omit<LocalCost, "workers">;

/**
 * The ranks of the training job that a worker writes for; `undefined` when all workers share a directory.
 *
 * @param worldSize - Ranks of the training job.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when none were given and the ranks cannot be divided among the workers.
 */
export function ranksOf(
	options: Pick<ConvertOptions, "localOutput" | "ranks" | "worker">,
	worldSize: number,
): readonly number[] | undefined {
	if (!options.localOutput) return undefined;
	return options.ranks ?? ranksOfWorker(worldSize, options.worker);
}

/**
 * Refuses a layout that does not say of every rank what it holds: the disk of a worker could lack what its ranks need.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID`
 */
export function assertHoldersKnown(choice: LayoutChoice): void {
	if (choice.kind !== "layout") return;
	const { worldSize, path, files } = choice;
	const silent = countSilentRanks(files);
	if (silent === 0) return;
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${path} lacks the files of ${silent} of ${worldSize} ranks, and an output for some ranks must know what each of them holds`,
		{
			hint: "Write the layout as every rank of the job, or convert to a directory that all of them share.",
			facts: { path, silent, worldSize },
		},
	);
}

/**
 * What this worker has to do: the plan, or the part of it that its ranks hold.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when one of the ranks is no rank of the job.
 */
export function ownPartOf(
	plan: Plan,
	layout: Layout,
	ranks: readonly number[] | undefined,
): PlanShare {
	if (ranks !== undefined) return localSharesOf(plan, layout).shareOf(ranks);
	return { plan, entries: Uint32Array.from(plan.entries.keys()) };
}

/** What each of `count` workers with disks of their own is to do, and what that costs. @throws {HfStreamDcpError} as {@link ranksOf}. */
export function plannedLocally(
	plan: Plan,
	layout: Layout,
	count: number,
): {
	readonly workers: readonly PlannedWorker[];
	readonly balance: Balance;
	readonly local: LocalOutputCost;
} {
	const ranks = Array.from({ length: count }, (_, index) =>
		ranksOfWorker(plan.worldSize, { index, count }),
	);
	const { workers, ...local } = localSharesOf(plan, layout).costOf(ranks);
	return { workers, balance: balanceOf(workers), local };
}
