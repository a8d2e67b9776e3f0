import { parentPort, workerData } from "node:worker_threads";
import { invariant } from "../core/errors.ts";
import type { ProgressEvent } from "../core/events.ts";
import type { FinishedEntry } from "../core/ports.ts";
import { reopenSource } from "../fetch/reopen-source.ts";
import { createRateBoard } from "../job/rate-board.ts";
import { errorOf, recordOf } from "./error-record.ts";
import type { FromThread, ToThread, ThreadTask } from "./messages.ts";
import { createReporter } from "./reporter.ts";
import { runShare, type ShareSummary } from "./run-share.ts";

// The program of every thread but the main one: runs the share in `workerData` and tells the main thread of it.

invariant(parentPort !== null, "this is the program of a thread that was started");
const port = parentPort;
const task = workerData as ThreadTask;
const tell = (message: FromThread): void => port.postMessage(message);

const stopping = new AbortController();
let answer: ((error: Error | undefined) => void) | undefined;
port.on("message", (message: ToThread) => {
	if (message.kind === "abort") stopping.abort(new Error("stopped by the main thread"));
	else answer?.(message.error === undefined ? undefined : errorOf(message.error));
});

/** Has the main thread write down entries. The writer flushes one after the other, so that one answer is awaited at a time. */
function record(finished: readonly FinishedEntry[]): Promise<void> {
	const whole = finished.map(({ index, crc32 }) => ({ index: wholeIndex(index), crc32 }));
	return new Promise((resolve, reject) => {
		answer = (error) => (error === undefined ? resolve() : reject(error));
		tell({ kind: "record", finished: whole });
	});
}

function wholeIndex(own: number): number {
	const index = task.share.entries[own];
	invariant(index !== undefined, `entry ${own} is not in the share`);
	return index;
}

async function run(onEvent: (event: ProgressEvent) => void): Promise<ShareSummary> {
	let retries = 0;
	const { share, finished, directory, environment, connections, maxOpenFiles, writeMode } = task;
	const board = task.limits === undefined ? undefined : createRateBoard(task.limits);
	const { signal } = stopping;
	const count = (event: ProgressEvent): void => {
		if (event.kind === "retry") retries++;
		onEvent(event.kind === "entry" ? { ...event, index: wholeIndex(event.index) } : event);
	};
	await using source = reopenSource(task.source, {
		environment,
		connections,
		signal,
		onEvent: count,
		board,
	});
	const summary = await runShare({
		plan: share.plan,
		source,
		directory,
		maxOpenFiles,
		writeMode,
		isFinished: (index) => finished[index] === 1,
		record,
		signal,
		onEvent: count,
	});
	return { ...summary, retries };
}

const reporter = createReporter(tell);
try {
	const summary = await run(reporter.onEvent);
	reporter.stop();
	tell({ kind: "done", summary });
} catch (error) {
	reporter.stop();
	tell({ kind: "failed", error: recordOf(error) });
}
