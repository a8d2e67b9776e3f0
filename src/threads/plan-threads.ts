import { type PlanShare, divideAmongThreads } from "../plan/share.ts";
import type { Plan, PlanTotals } from "../plan/types.ts";
import {
	chooseThreads,
	divideConnections,
	type ThreadsDemand,
	type ThreadsReason,
} from "./choose-threads.ts";

/** Who does what of a plan. */
export interface ThreadsPlan {
	readonly reason: ThreadsReason;
	/** One for each thread, at least one; where there are several, none is empty. */
	readonly shares: readonly PlanShare[];
	/** Connections of each thread. */
	readonly connections: readonly number[];
}

/** Chooses the number of threads and gives each its share. */
export function planThreads(
	plan: Plan,
	demand: Omit<ThreadsDemand, "fetchBytes" | "budgetBytes">,
	isFinished?: (entry: number) => boolean,
): ThreadsPlan {
	const { fetchBytes } = plan.totals;
	const { budgetBytes } = plan.limits;
	const { count, reason } = chooseThreads({ ...demand, fetchBytes, budgetBytes });
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
	const shares = count === 1 ? [] : divideAmongThreads(plan, count, isFinished);
	const busy = shares.filter(({ entries }) => entries.length > 0);
	// One share is the plan itself, whose copy could be large.
	if (busy.length < 2) return [{ plan, entries: Uint32Array.from(plan.entries.keys()) }];
	return busy;
}

/** What one thread is to do. */
export interface PlannedThread extends Pick<
	PlanTotals,
	"fetchBytes" | "requests" | "writeBytes" | "entries" | "files" | "memoryBytes"
> {
	readonly connections: number;
}

/** What every thread is to do, in numbers. */
export function plannedThreads({ shares, connections }: ThreadsPlan): readonly PlannedThread[] {
	return shares.map(({ plan: { totals } }, index) => {
		const { fetchBytes, requests, writeBytes, entries, files, memoryBytes } = totals;
		const own = connections[index] ?? 1;
		return { fetchBytes, requests, writeBytes, entries, files, memoryBytes, connections: own };
	});
}
