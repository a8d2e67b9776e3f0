import type { GpuCounters } from "../core/device.ts";
import { invariant } from "../core/errors.ts";
import type { ProgressEvent } from "../core/events.ts";
import type { FinishedEntry, ReshardBackend } from "../core/ports.ts";
import { reopenSource } from "../fetch/reopen-source.ts";
import { createRateBoard } from "../job/rate-board.ts";
import { errorOf, recordOf } from "./error-record.ts";
import type { FromThread, ToThread, ThreadTask } from "./messages.ts";
import { createReporter } from "./reporter.ts";
import { runShare, type ShareSummary } from "./run-share.ts";

/** What a thread has of the main thread. */
export interface MainThread {
	tell(message: FromThread): void;
	/** Calls `listener` with every message from now on. */
	listen(listener: (message: ToThread) => void): void;
}

/** What reshards in a thread. */
export interface TaskDevice {
	open(): Promise<ReshardBackend>;
	/** What the GPU did so far; `undefined` before it is open. */
	counters(): GpuCounters | undefined;
}

/**
 * Does the task of a thread and tells the main thread of it; the last message is `done` or `failed`.
 *
 * @param device - @default the CPU
 */
export async function runTask(
	task: ThreadTask,
	main: MainThread,
	device?: TaskDevice,
): Promise<void> {
	const stopping = new AbortController();
	let answer: ((error: Error | undefined) => void) | undefined;
	main.listen((message) => {
		if (message.kind === "abort") stopping.abort(new Error("stopped by the main thread"));
		else answer?.(message.error === undefined ? undefined : errorOf(message.error));
	});
	/** Has the main thread write down entries. The writer flushes one after the other, so that one answer is awaited at a time. */
	const record = (finished: readonly FinishedEntry[]): Promise<void> => {
		const whole = finished.map((entry) => ({ ...entry, index: wholeIndex(task, entry.index) }));
		return new Promise((resolve, reject) => {
			answer = (error) => (error === undefined ? resolve() : reject(error));
			main.tell({ kind: "record", finished: whole });
		});
	};
	const reporter = createReporter((message) => main.tell(message));
	try {
		const { signal } = stopping;
		const done = await stream({ task, record, signal, onEvent: reporter.onEvent, device });
		reporter.stop();
		main.tell({ kind: "done", summary: { ...done, gpu: device?.counters() } });
	} catch (error) {
		reporter.stop();
		main.tell({ kind: "failed", error: recordOf(error) });
	}
}

function wholeIndex({ share }: ThreadTask, own: number): number {
	const index = share.entries[own];
	invariant(index !== undefined, `entry ${own} is not in the share`);
	return index;
}

interface Stream {
	readonly task: ThreadTask;
	readonly record: (finished: readonly FinishedEntry[]) => Promise<void>;
	readonly signal: AbortSignal;
	readonly onEvent: (event: ProgressEvent) => void;
	readonly device: TaskDevice | undefined;
}

async function stream({ task, record, signal, onEvent, device }: Stream): Promise<ShareSummary> {
	let retries = 0;
	const { share, finished, directory, environment, connections, maxOpenFiles, writeMode } = task;
	const board = task.limits === undefined ? undefined : createRateBoard(task.limits);
	const count = (event: ProgressEvent): void => {
		if (event.kind === "retry") retries++;
		onEvent(event.kind === "entry" ? { ...event, index: wholeIndex(task, event.index) } : event);
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
		openBackend: device === undefined ? undefined : () => device.open(),
		directory,
		maxOpenFiles,
		writeMode,
		hash: task.hash,
		isFinished: (index) => finished[index] === 1,
		record,
		signal,
		onEvent: count,
	});
	return { ...summary, retries };
}
