import { Worker } from "node:worker_threads";
import { HfStreamDcpError } from "../core/errors.ts";
import { createReadBuffers } from "./read-ahead.ts";
import type { FromScanThread, ScanTask, ToScanThread } from "./scan-messages.ts";
import { type ScanOptions, type ScanUnit, scanUnit, type UnitListener } from "./scan-unit.ts";

/**
 * Scans all units, in order, in this thread or in several others.
 *
 * @param threads - 1 for this thread.
 * @throws {HfStreamDcpError} `WORKER_FAILED`; `signal.reason` when aborted.
 */
export async function scanUnits(
	options: ScanOptions,
	units: readonly ScanUnit[],
	threads: number,
	listener: UnitListener,
): Promise<void> {
	const mostBytes = units.reduce((most, { part }) => Math.max(most, part.end - part.start), 0);
	if (threads > 1) return await scanInThreads({ ...options, mostBytes }, units, threads, listener);
	const buffers = createReadBuffers(mostBytes);
	for (const [index, unit] of units.entries()) {
		await scanUnit(options, index, unit, buffers, listener);
	}
}

async function scanInThreads(
	{ directory, level, signal, mostBytes }: ScanOptions & ScanTask,
	units: readonly ScanUnit[],
	threads: number,
	listener: UnitListener,
): Promise<void> {
	const queue = units.entries();
	const stop = new AbortController();
	const signals = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
	const work = async (): Promise<void> => {
		try {
			await runThread({ directory, level, mostBytes }, queue, listener, signals);
		} catch (error) {
			stop.abort(error);
			throw error;
		}
	};
	const ends = await Promise.allSettled(Array.from({ length: threads }, work));
	signal?.throwIfAborted();
	for (const end of ends) if (end.status === "rejected") throw end.reason;
}

/** One thread, from its start to its end: it takes units from the queue until there are none. */
function runThread(
	task: ScanTask,
	queue: Iterator<readonly [number, ScanUnit]>,
	listener: UnitListener,
	signal: AbortSignal,
): Promise<void> {
	return new Promise((resolve, reject) => {
		signal.throwIfAborted();
		// The built file: Node 20 runs no TypeScript.
		const thread = new Worker(new URL("./scan-program.js", import.meta.url), { workerData: task });
		const give = (message: ToScanThread): void => thread.postMessage(message);
		let failure: { readonly error: unknown } | undefined;
		const end = (): void => void thread.terminate();
		const onAbort = (): void => {
			failure ??= { error: signal.reason };
			end();
		};
		signal.addEventListener("abort", onAbort, { once: true });
		let isDone = false;
		thread.on("message", (said: FromScanThread) => {
			if (said.kind === "found") {
				tell(said, listener);
				return;
			}
			const next = queue.next();
			isDone = next.done === true;
			if (next.done === true) end();
			else {
				const [index, unit] = next.value;
				give({ index, unit });
			}
		});
		thread.on("error", (error) => (failure ??= { error: crashed(error) }));
		thread.on("exit", (code) => {
			signal.removeEventListener("abort", onAbort);
			if (failure === undefined && isDone) resolve();
			else reject(failure?.error ?? crashed(`it ended with code ${code}`));
		});
	});
}

function tell(
	{ unit, verdicts, paddings, unreadable, bytes }: Extract<FromScanThread, { kind: "found" }>,
	listener: UnitListener,
): void {
	for (const [item, verdict] of verdicts) listener.onEntry(unit, item, verdict);
	for (const range of paddings) listener.onPadding(unit, range);
	if (unreadable !== undefined) listener.onUnreadable(unit, unreadable);
	listener.onRead(bytes);
}

function crashed(reason: unknown): HfStreamDcpError {
	return new HfStreamDcpError("WORKER_FAILED", "a thread ended before its work was done", {
		hint: "Give fewer --threads. If it happens again, report it.",
		cause: reason,
	});
}
