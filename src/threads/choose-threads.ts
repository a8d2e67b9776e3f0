import type { Machine } from "./machine.ts";

/** How many threads are wanted; `auto` leaves it to the machine and the plan. */
export type ThreadsOption = number | "auto";

/**
 * Why there are as many threads as there are: `asked` for; one for each of the `cores`; `most` there are by default; one for every
 * {@link MIN_THREAD_BYTES} to fetch (`bytes`), budget in half of the `memory`, or connection to the Hub (`connections`); no more
 * `parts` can be parted.
 */
export type ThreadsReason =
	| "asked"
	| "cores"
	| "most"
	| "bytes"
	| "memory"
	| "connections"
	| "parts";

/** A number of threads and why. */
export interface ThreadsChoice {
	readonly count: number;
	readonly reason: ThreadsReason;
}

/** Most threads without being asked: beyond it one machine's network and disks are the bound. */
const MOST_THREADS = 16;

/** A thread costs its start, a resolve of every file it reads, and memory; with less than this to fetch it does not pay. */
export const MIN_THREAD_BYTES: number = 2 * 1024 ** 3;

/** What the choice depends on. */
export interface ThreadsDemand {
	readonly threads: ThreadsOption;
	readonly machine: Machine;
	/** Of the whole plan. */
	readonly fetchBytes: number;
	/** Memory of one thread. */
	readonly budgetBytes: number;
	/** Of the whole machine to the source. */
	readonly connections: number;
	/** Whether the source is read over connections. */
	readonly isRemote: boolean;
}

/** Chooses the number of threads; at least one. */
export function chooseThreads(demand: ThreadsDemand): ThreadsChoice {
	const { threads, machine, fetchBytes, budgetBytes, connections } = demand;
	if (threads !== "auto") return { count: threads, reason: "asked" };
	const bounds: readonly ThreadsChoice[] = [
		{ count: machine.cores, reason: "cores" },
		{ count: MOST_THREADS, reason: "most" },
		{ count: Math.floor(fetchBytes / MIN_THREAD_BYTES), reason: "bytes" },
		{ count: Math.floor(machine.memoryBytes / 2 / budgetBytes), reason: "memory" },
		{ count: demand.isRemote ? connections : Infinity, reason: "connections" },
	];
	const tightest = bounds.reduce((best, bound) => (bound.count < best.count ? bound : best));
	return { count: Math.max(1, tightest.count), reason: tightest.reason };
}

/** Divides connections among threads: at least one each. */
export function divideConnections(connections: number, threads: number): readonly number[] {
	return Array.from({ length: threads }, (_, index) => {
		const rest = index < connections % threads ? 1 : 0;
		return Math.max(1, Math.floor(connections / threads) + rest);
	});
}
