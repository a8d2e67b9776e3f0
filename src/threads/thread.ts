import { Worker } from "node:worker_threads";
import { HfStreamDcpError } from "../core/errors.ts";
import { errorOf, recordOf } from "./error-record.ts";
import type { FromThread, ToThread, ThreadTask } from "./messages.ts";
import type { ShareSummary } from "./run-share.ts";

/** What the main thread does for a thread that runs a share. */
export interface ThreadListener {
	readonly onProgress: (message: Extract<FromThread, { kind: "progress" }>) => void;
	/** Resolves when the entries are in the journal. */
	readonly record: (finished: Extract<FromThread, { kind: "record" }>["finished"]) => Promise<void>;
}

/** A thread that runs a share. */
export interface RunningThread {
	/**
	 * Settles when the thread has ended.
	 *
	 * @throws {HfStreamDcpError} what the share failed with; `WORKER_FAILED` when the thread ended without a result.
	 */
	readonly ended: Promise<ShareSummary>;
	/** Asks it to stop. It flushes what is finished, and {@link ended} rejects. */
	abort(): void;
}

/** How a thread ended. */
type Outcome = { readonly summary: ShareSummary } | { readonly error: Error };

/**
 * Starts a thread.
 *
 * @param name - For people: `thread 2`.
 */
export function startThread(
	name: string,
	task: ThreadTask,
	listener: ThreadListener,
): RunningThread {
	// The built file: Node 20 runs no TypeScript.
	const program = new URL("./thread-program.js", import.meta.url);
	const thread = new Worker(program, { workerData: task, name });
	const tell = (message: ToThread): void => thread.postMessage(message);
	let outcome: Outcome | undefined;
	const end = (result: Outcome): void => {
		outcome ??= result;
		// Nothing of it is under way any more, and nothing it holds may keep the process alive.
		void thread.terminate();
	};
	thread.on("message", (message: FromThread) => {
		switch (message.kind) {
			case "progress":
				listener.onProgress(message);
				break;
			case "record":
				listener.record(message.finished).then(
					() => tell({ kind: "recorded", error: undefined }),
					(error: unknown) => tell({ kind: "recorded", error: recordOf(error) }),
				);
				break;
			case "done":
				end({ summary: message.summary });
				break;
			case "failed":
				end({ error: errorOf(message.error) });
		}
	});
	thread.on("error", (error) => end({ error: crashed(name, error) }));
	thread.on("messageerror", (error) => end({ error: crashed(name, error) }));
	const ended = new Promise<ShareSummary>((resolve, reject) => {
		thread.on("exit", (code) => {
			const result = outcome ?? { error: crashed(name, `it ended with code ${code}`) };
			if ("summary" in result) resolve(result.summary);
			else reject(result.error);
		});
	});
	return { ended, abort: () => tell({ kind: "abort" }) };
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
