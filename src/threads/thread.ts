import { Worker } from "node:worker_threads";
import type { GpuCounters } from "../core/device.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { startChild } from "./child.ts";
import { errorOf, recordOf } from "./error-record.ts";
import type { FromThread, ToThread, ThreadTask } from "./messages.ts";
import type { ShareSummary } from "./run-share.ts";

/** What the main thread does for a thread that runs a share. */
export interface ThreadListener {
	readonly onProgress: (message: Extract<FromThread, { kind: "progress" }>) => void;
	/** Resolves when the entries are in the journal. */
	readonly record: (finished: Extract<FromThread, { kind: "record" }>["finished"]) => Promise<void>;
	/** The GPU failed at something, which the CPU does instead. */
	readonly onTrouble: (reason: string) => void;
	/** What the GPU did so far. */
	readonly onGpu: (counters: GpuCounters) => void;
}

/** A thread that runs a share. */
export interface RunningThread {
	/**
	 * Settles when the thread has ended.
	 *
	 * @throws {HfStreamDcpError} what the share failed with. When the thread ended without a result, `WORKER_FAILED`; with a GPU
	 * `DEVICE_UNAVAILABLE`.
	 */
	readonly ended: Promise<ShareSummary>;
	/** Asks it to stop. It flushes what is finished, and {@link ended} rejects. */
	abort(): void;
}

/** How a thread ended. */
type Outcome = { readonly summary: ShareSummary } | { readonly error: Error };

/** What carries messages to a thread and back. */
interface Carrier {
	tell(message: ToThread): void;
	/** Ends it at once. */
	stop(): void;
}

interface CarrierListener {
	readonly onMessage: (message: FromThread) => void;
	/** Why it will end without a result. */
	readonly onError: (error: Error) => void;
	/** The last call. */
	readonly onEnd: (error: Error) => void;
}

/** A process that uses a GPU is ended when it says nothing for so long. */
const MAX_SILENCE_MS = 60_000;

/**
 * Starts a thread: in this process, or, if it uses a GPU, in one of its own, whose end it is then if the driver crashes.
 *
 * @param name - For people: `thread 2`.
 */
export function startThread(
	name: string,
	task: ThreadTask,
	listener: ThreadListener,
): RunningThread {
	let outcome: Outcome | undefined;
	const end = (result: Outcome): void => {
		outcome ??= result;
		// Nothing of it is under way any more, and nothing it holds may keep the process alive.
		carrier.stop();
	};
	let onEnd: (error: Error) => void;
	const ended = new Promise<ShareSummary>((resolve, reject) => {
		onEnd = (error) => {
			const result = outcome ?? { error };
			if ("summary" in result) resolve(result.summary);
			else reject(result.error);
		};
	});
	const start = task.device === "cpu" ? startWorker : startProcess;
	const carrier = start(name, task, {
		onMessage(message) {
			switch (message.kind) {
				case "progress":
					listener.onProgress(message);
					break;
				case "record":
					listener.record(message.finished).then(
						() => carrier.tell({ kind: "recorded", error: undefined }),
						(error: unknown) => carrier.tell({ kind: "recorded", error: recordOf(error) }),
					);
					break;
				case "alive":
					if (message.gpu !== undefined) listener.onGpu(message.gpu);
					break;
				case "trouble":
					listener.onTrouble(message.reason);
					break;
				case "done":
					end({ summary: message.summary });
					break;
				case "failed":
					end({ error: errorOf(message.error) });
			}
		},
		onError: (error) => end({ error }),
		onEnd: (error) => onEnd(error),
	});
	return { ended, abort: () => carrier.tell({ kind: "abort" }) };
}

function startWorker(name: string, task: ThreadTask, listener: CarrierListener): Carrier {
	// The built file: Node 20 runs no TypeScript.
	const program = new URL("./thread-program.js", import.meta.url);
	const thread = new Worker(program, { workerData: task, name });
	thread.on("message", listener.onMessage);
	thread.on("error", (error) => listener.onError(crashed(name, error)));
	thread.on("messageerror", (error) => listener.onError(crashed(name, error)));
	thread.on("exit", (code) => listener.onEnd(crashed(name, `it ended with code ${code}`)));
	return {
		tell: (message) => thread.postMessage(message),
		stop: () => void thread.terminate(),
	};
}

function startProcess(name: string, task: ThreadTask, listener: CarrierListener): Carrier {
	const program = new URL("./gpu-program.js", import.meta.url);
	const child = startChild<FromThread>(program, task, MAX_SILENCE_MS, {
		onMessage: listener.onMessage,
		onEnd: (how) => listener.onEnd(lost(name, how)),
	});
	return { tell: (message) => child.tell(message), stop: () => child.kill() };
}

function lost(name: string, how: string): HfStreamDcpError {
	return new HfStreamDcpError("DEVICE_UNAVAILABLE", `the GPU process of ${name} is lost: ${how}`, {
		facts: { thread: name },
	});
}

function crashed(name: string, reason: unknown): HfStreamDcpError {
	const isOutOfMemory =
		reason instanceof Error && "code" in reason && reason.code === "ERR_WORKER_OUT_OF_MEMORY";
	return new HfStreamDcpError("WORKER_FAILED", `${name} ended before its work was done`, {
		hint: isOutOfMemory
			? "Give fewer --threads, then run the same command again: what is finished is kept."
			: "Run the same command again: what is finished is kept. If it happens again, report it.",
		facts: { thread: name },
		cause: reason,
	});
}
