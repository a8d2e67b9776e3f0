import type { ProgressTotals } from "../progress.ts";
import type { ChildProgress } from "./child-log.ts";

/** Phases from the last to the first: the job is where its foremost worker is, but for the commit, which is one worker's. */
const PHASES = ["stream", "commit", "plan", "headers", "resolve"] as const;

/** What is known of one worker. */
export interface WorkerState {
	readonly progress: ChildProgress | undefined;
	/** Whether its process runs. */
	readonly isRunning: boolean;
}

/** How far all workers are together. What an ended one left undone is counted where it is done. */
export function addTotals(workers: readonly WorkerState[]): ProgressTotals {
	const known = workers.flatMap(({ progress, isRunning }) =>
		progress === undefined ? [] : [isRunning ? progress : asLeft(progress)],
	);
	const sum = (of: (progress: ChildProgress) => number | undefined): number =>
		known.reduce((total, progress) => total + (of(progress) ?? 0), 0);
	const isPlanned = known.some(({ fetchBytes }) => fetchBytes !== undefined);
	return {
		phase: PHASES.find((phase) => known.some((progress) => progress.phase === phase)) ?? "resolve",
		receivedBytes: sum(({ receivedBytes }) => receivedBytes),
		writtenBytes: sum(({ writtenBytes }) => writtenBytes),
		entriesDone: sum(({ entriesDone }) => entriesDone),
		resumedEntries: sum(({ resumedEntries }) => resumedEntries),
		totals: isPlanned
			? {
					fetchBytes: sum(({ fetchBytes }) => fetchBytes),
					entries: sum(({ entries }) => entries),
				}
			: undefined,
	};
}

/** A worker that ended: what it fetched was fetched, and its unfinished share is told of again by whoever takes it over. */
function asLeft(progress: ChildProgress): ChildProgress {
	const { fetchBytes, entries, entriesDone, receivedBytes } = progress;
	if (fetchBytes === undefined || entries === undefined || entriesDone >= entries) return progress;
	return { ...progress, fetchBytes: receivedBytes, entries: 0, entriesDone: 0, resumedEntries: 0 };
}
