import { type Balance, balanceOf, type ShareFacts, shareFactsOf } from "../plan/share-facts.ts";
import type { Plan } from "../plan/types.ts";

/** What one worker of a job is to do. */
export interface PlannedWorker extends Omit<ShareFacts, "files" | "sourceFiles"> {
	/** Data files, which no other worker writes. */
	readonly files: number;
}

/** What every worker is to do, when there are as many as the plan has shares, and how even that is. */
export function plannedWorkersOf(plan: Plan): {
	readonly workers: readonly PlannedWorker[];
	readonly balance: Balance;
} {
	const facts = shareFactsOf(plan);
	const workers = facts.map((share) => ({ ...share, files: share.files.length }));
	return { workers, balance: balanceOf(facts) };
}
