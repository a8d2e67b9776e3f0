import type { EventListener } from "../core/events.ts";
import type { FinishedEntry } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { defaultMaxOpenFiles } from "../dcp/open-file-limit.ts";
import type { WriteMode } from "../dcp/write-mode.ts";
import type { PlanShare } from "../plan/share.ts";
import type { ThreadTask } from "./messages.ts";
import { countThreads } from "./count-threads.ts";
import { runPart } from "./run-part.ts";
import type { ShareSummary } from "./run-share.ts";
import type { RunningThread } from "./thread.ts";

/** Who knows which entries are finished. */
export interface EntryOwner {
	/** Entries that need not be written. */
	readonly resumed: ReadonlySet<number>;
	/** How data files are written. */
	readonly writeMode: WriteMode;
	/** Told of entries whose files were synced; resolves when that is written down. */
	record(finished: readonly FinishedEntry[]): Promise<void>;
}

/** What the threads of one machine share. */
export interface ThreadsOptions extends Pick<
	ThreadTask,
	"directory" | "source" | "environment" | "limits" | "hash" | "device"
> {
	readonly shares: readonly PlanShare[];
	/** Whose journal takes the finished entries. */
	readonly owner: EntryOwner;
	/** Connections of each thread. */
	readonly connections: readonly number[];
	/** Bytes received before: the counters of the events go on from there. */
	readonly receivedBytes: number;
	/** The GPU of a thread failed at something, or is lost with its process; the CPU does that, or the rest. */
	readonly onTrouble: (reason: string) => void;
	readonly signal?: AbortSignal | undefined;
	readonly onEvent: EventListener;
}

/**
 * Runs every share in a thread of its own. The first failure, which the loss of a GPU is not, stops the others; all flush what they have finished. When it settles,
 * every thread has ended.
 *
 * @returns What each did, in the order of the shares.
 * @throws {HfStreamDcpError} the first failure. @throws `signal.reason` when aborted.
 */
export async function runThreads(options: ThreadsOptions): Promise<readonly ShareSummary[]> {
	const { shares, owner, signal, onTrouble } = options;
	const running: RunningThread[] = [];
	const stopping = new AbortController();
	let failure: { readonly error: unknown } | undefined;
	const fail = (error: unknown): void => {
		if (failure !== undefined) return;
		failure = { error };
		stopping.abort(error);
		for (const thread of running) thread.abort();
	};
	const onAbort = (): void => fail(signal?.reason);
	signal?.addEventListener("abort", onAbort, { once: true });
	const count = countThreads(options.receivedBytes, options.onEvent);
	const run = async (index: number): Promise<ShareSummary | undefined> => {
		try {
			return await runPart({
				name: `thread ${index + 1}`,
				index,
				task: taskOf(options, index),
				count,
				record: (finished) => owner.record(finished),
				onTrouble,
				onStart: (thread) => (running[index] = thread),
				signal: stopping.signal,
			});
		} catch (error) {
			fail(error);
			return undefined;
		}
	};
	const parts = [...shares.keys()].map(run);
	if (signal?.aborted === true) onAbort();
	const summaries = await Promise.all(parts);
	signal?.removeEventListener("abort", onAbort);
	if (failure !== undefined) throw failure.error;
	return summaries.filter((summary) => summary !== undefined);
}

function taskOf(options: ThreadsOptions, index: number): ThreadTask {
	const { shares, owner, directory, source, environment, limits, hash, connections, device } =
		options;
	const share = at(shares, index);
	return {
		share,
		finished: Uint8Array.from(share.entries, (entry) => (owner.resumed.has(entry) ? 1 : 0)),
		directory,
		source,
		environment,
		limits,
		connections: at(connections, index),
		writeMode: owner.writeMode,
		hash,
		device,
		maxOpenFiles: Math.max(1, Math.floor(defaultMaxOpenFiles() / shares.length)),
	};
}
