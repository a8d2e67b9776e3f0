import type { PlannedWorker, Preparation, WorkersReason } from "../index.ts";
import { formatBytes, formatMemory, plural } from "./format.ts";

const REASONS: { readonly [R in WorkersReason]: string } = {
	asked: "as asked for",
	cores: "one for every core this process may use",
	most: "never more unless asked for",
	bytes: "one for every 256 MiB to fetch",
	memory: "as many budgets as half of the memory holds",
	connections: "one for every connection",
	parts: "the plan falls apart into no more shares",
};

/** `2 (one for every core this process may use)` */
export function describeWorkers(count: number, reason: WorkersReason): string {
	return `${count} (${REASONS[reason]})`;
}

/** How many workers there will be and what each is to do, as rows of a table. */
export function workerRows({ workers, workersReason }: Preparation): string[][] {
	const rows = [["workers", describeWorkers(workers.length, workersReason)]];
	if (workers.length === 1) return rows;
	for (const [index, worker] of workers.entries()) rows.push(["", workerLine(index + 1, worker)]);
	return rows;
}

function workerLine(number: number, worker: PlannedWorker): string {
	const { fetchBytes, requests, writeBytes, entries, files, memoryBytes, connections } = worker;
	const fetched = `${formatBytes(fetchBytes)} in by ${plural(requests, "request")}`;
	const written = `${formatBytes(writeBytes)} out, ${plural(entries, "entry", "entries")} of ${plural(files, "file")}`;
	return `${number}: ${fetched}, ${written}; ${formatMemory(memoryBytes)}, ${plural(connections, "connection")}`;
}
