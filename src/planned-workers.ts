import { shareOf } from "./plan/share.ts";
import type { Plan, PlanTotals } from "./plan/types.ts";

/** What one worker of a job is to do. */
export type PlannedWorker = Pick<
	PlanTotals,
	"fetchBytes" | "requests" | "writeBytes" | "entries" | "files" | "memoryBytes"
>;

/** What every worker is to do, when there are as many as shares, in numbers. */
export function plannedWorkersOf(plan: Plan): readonly PlannedWorker[] {
	return Array.from({ length: plan.shares }, (_, index) => {
		const { totals } = shareOf(plan, index).plan;
		const { fetchBytes, requests, writeBytes, entries, files, memoryBytes } = totals;
		return { fetchBytes, requests, writeBytes, entries, files, memoryBytes };
	});
}
