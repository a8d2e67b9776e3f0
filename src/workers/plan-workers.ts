import { type PlanShare, sharePlan } from "../plan/share.ts";
import type { Plan, PlanTotals } from "../plan/types.ts";
import {
	chooseWorkers,
	divideConnections,
	type WorkersDemand,
	type WorkersReason,
} from "./choose-workers.ts";

/** Who does what of a plan. */
export interface WorkersPlan {
	readonly reason: WorkersReason;
	/** One for each worker, at least one; where there are several, none is empty. */
	readonly shares: readonly PlanShare[];
	/** Connections of each worker. */
	readonly connections: readonly number[];
}

/** Chooses the number of workers and gives each its share. */
export function planWorkers(
	plan: Plan,
	demand: Omit<WorkersDemand, "fetchBytes" | "budgetBytes">,
	isFinished?: (entry: number) => boolean,
): WorkersPlan {
	const { fetchBytes } = plan.totals;
	const { budgetBytes } = plan.limits;
	const { count, reason } = chooseWorkers({ ...demand, fetchBytes, budgetBytes });
	const shares = sharesOf(plan, count, isFinished);
	return {
		reason: shares.length < count ? "parts" : reason,
		shares,
		connections: divideConnections(demand.connections, shares.length),
	};
}

function sharesOf(
	plan: Plan,
	count: number,
	isFinished: ((entry: number) => boolean) | undefined,
): readonly PlanShare[] {
	const shares = count === 1 ? [] : sharePlan(plan, count, isFinished);
	const busy = shares.filter(({ entries }) => entries.length > 0);
	// One share is the plan itself, whose copy could be large.
	if (busy.length < 2) return [{ plan, entries: Uint32Array.from(plan.entries.keys()) }];
	return busy;
}

/** What one worker is to do. */
export interface PlannedWorker extends Pick<
	PlanTotals,
	"fetchBytes" | "requests" | "writeBytes" | "entries" | "files" | "memoryBytes"
> {
	readonly connections: number;
}

/** What every worker is to do, in numbers. */
export function plannedWorkers({ shares, connections }: WorkersPlan): readonly PlannedWorker[] {
	return shares.map(({ plan: { totals } }, index) => {
		const { fetchBytes, requests, writeBytes, entries, files, memoryBytes } = totals;
		const own = connections[index] ?? 1;
		return { fetchBytes, requests, writeBytes, entries, files, memoryBytes, connections: own };
	});
}
