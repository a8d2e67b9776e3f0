import type { PlannedThread, Preparation, ThreadsReason } from "../index.ts";
import { formatBytes, formatMemory, plural } from "./format.ts";

const REASONS: { readonly [R in ThreadsReason]: string } = {
	asked: "as asked for",
	cores: "one for every core this process may use",
	most: "never more unless asked for",
	bytes: "one for every 2 GiB to fetch",
	memory: "as many budgets as half of the memory holds",
	connections: "one for every connection",
	parts: "the plan falls apart into no more shares",
};

/** `2 (one for every core this process may use)` */
export function describeThreads(count: number, reason: ThreadsReason): string {
	return `${count} (${REASONS[reason]})`;
}

/** How many threads a worker will have, and what each is to do when it is the only worker, as rows of a table. */
export function threadRows({ threads, threadsReason, workers }: Preparation): string[][] {
	const rows = [["threads", describeThreads(threads.length, threadsReason)]];
	if (threads.length === 1 || workers.length > 1) return rows;
	for (const [index, thread] of threads.entries()) rows.push(["", threadLine(index + 1, thread)]);
	return rows;
}

function threadLine(number: number, thread: PlannedThread): string {
	const { fetchBytes, requests, writeBytes, entries, files, memoryBytes, connections } = thread;
	const fetched = `${formatBytes(fetchBytes)} in by ${plural(requests, "request")}`;
	const written = `${formatBytes(writeBytes)} out, ${plural(entries, "entry", "entries")} of ${plural(files, "file")}`;
	return `${number}: ${fetched}, ${written}; ${formatMemory(memoryBytes)}, ${plural(connections, "connection")}`;
}
