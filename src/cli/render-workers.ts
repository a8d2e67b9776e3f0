import type { PlannedWorker, Preparation } from "../index.ts";
import { formatBytes, formatCount, formatMemory, formatTable, plural } from "./format.ts";

/** Workers that a table lists; of more, those with the most to do. */
const MOST_WORKERS = 32;

const HEADINGS = ["worker", "in", "requests", "out", "files", "entries", "memory"] as const;

/**
 * What each worker is to do, as a table; no line break at the end.
 *
 * @param workers - In their order; at least two.
 */
export function renderPlannedWorkers(workers: readonly PlannedWorker[]): string {
	const ranked = [...workers.entries()].map(([index, worker]) => ({ index, worker }));
	const shown =
		ranked.length <= MOST_WORKERS
			? ranked
			: ranked.toSorted((a, b) => loadOf(b.worker) - loadOf(a.worker)).slice(0, MOST_WORKERS);
	const table = formatTable(
		[HEADINGS, ...shown.map(({ index, worker }) => workerRow(index, worker))],
		[...HEADINGS.keys()],
	);
	const rest = ranked.length - shown.length;
	if (rest === 0) return table;
	return `${table}\nthe ${shown.length} with the most to do; --json lists ${formatCount(ranked.length)}`;
}

function workerRow(index: number, worker: PlannedWorker): string[] {
	return [
		String(index),
		formatBytes(worker.fetchBytes),
		formatCount(worker.requests),
		formatBytes(worker.writeBytes),
		formatCount(worker.files),
		formatCount(worker.entries),
		formatMemory(worker.memoryBytes),
	];
}

/** `8; the most that one has to do is 1.04 times the mean`, and how many have nothing to do. */
export function describeBalance({ workers, balance }: Preparation): string {
	const { maxBytes, meanBytes, emptyShares } = balance;
	const ratio = meanBytes > 0 ? (maxBytes / meanBytes).toFixed(2) : "1.00";
	const rest =
		emptyShares === 0
			? ""
			: `; ${plural(emptyShares, "of them has", "of them have")} nothing to do`;
	return `${formatCount(workers.length)}; the most that one has to do is ${ratio} times the mean${rest}`;
}

function loadOf({ fetchBytes, writeBytes }: PlannedWorker): number {
	return fetchBytes + writeBytes;
}
