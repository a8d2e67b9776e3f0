import type { Machine } from "./machine.ts";

/** How many workers are wanted; `auto` leaves it to the machine and the plan. */
export type WorkersOption = number | "auto";

/**
 * Why there are as many workers as there are: `asked` for; one for each of the `cores`; `most` there are by default; one for every
 * {@link MIN_WORKER_BYTES} to fetch (`bytes`), budget in half of the `memory`, or connection to the Hub (`connections`); no more
 * `parts` can be parted.
 */
export type WorkersReason =
	| "asked"
	| "cores"
	| "most"
	| "bytes"
	| "memory"
	| "connections"
	| "parts";

/** A number of workers and why. */
export interface WorkersChoice {
	readonly count: number;
	readonly reason: WorkersReason;
}

/** Most workers without being asked: beyond it one machine's network and disks are the bound. */
const MOST_WORKERS = 16;

/** A worker costs its start, a resolve of every file it reads, and memory; with less than this to fetch it does not pay. */
export const MIN_WORKER_BYTES: number = 2 * 1024 ** 3;

/** What the choice depends on. */
export interface WorkersDemand {
	readonly workers: WorkersOption;
	readonly machine: Machine;
	/** Of the whole plan. */
	readonly fetchBytes: number;
	/** Memory of one worker. */
	readonly budgetBytes: number;
	/** Of the whole machine to the source. */
	readonly connections: number;
	/** Whether the source is read over connections. */
	readonly isRemote: boolean;
}

/** Chooses the number of workers; at least one. */
export function chooseWorkers(demand: WorkersDemand): WorkersChoice {
	const { workers, machine, fetchBytes, budgetBytes, connections } = demand;
	if (workers !== "auto") return { count: workers, reason: "asked" };
	const bounds: readonly WorkersChoice[] = [
		{ count: machine.cores, reason: "cores" },
		{ count: MOST_WORKERS, reason: "most" },
		{ count: Math.floor(fetchBytes / MIN_WORKER_BYTES), reason: "bytes" },
		{ count: Math.floor(machine.memoryBytes / 2 / budgetBytes), reason: "memory" },
		{ count: demand.isRemote ? connections : Infinity, reason: "connections" },
	];
	const tightest = bounds.reduce((best, bound) => (bound.count < best.count ? bound : best));
	return { count: Math.max(1, tightest.count), reason: tightest.reason };
}

/** Divides connections among workers: at least one each. */
export function divideConnections(connections: number, workers: number): readonly number[] {
	return Array.from({ length: workers }, (_, index) => {
		const rest = index < connections % workers ? 1 : 0;
		return Math.max(1, Math.floor(connections / workers) + rest);
	});
}
