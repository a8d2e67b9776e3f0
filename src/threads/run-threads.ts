import type { EventListener } from "../core/events.ts";
import type { FinishedEntry } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { defaultMaxOpenFiles } from "../dcp/open-file-limit.ts";
import type { WriteMode } from "../dcp/write-mode.ts";
import type { PlanShare } from "../plan/share.ts";
import type { ThreadTask } from "./messages.ts";
import type { ShareSummary } from "./run-share.ts";
import { startThread, type ThreadListener } from "./thread.ts";

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
	"directory" | "source" | "environment" | "limits"
> {
	readonly shares: readonly PlanShare[];
	/** Whose journal takes the finished entries. */
	readonly owner: EntryOwner;
	/** Connections of each thread. */
	readonly connections: readonly number[];
	/** Bytes received before: the counters of the events go on from there. */
	readonly receivedBytes: number;
	readonly signal?: AbortSignal | undefined;
	readonly onEvent: EventListener;
}

/**
 * Runs every share in a thread of its own. The first failure stops the others; all flush what they have finished. When it settles,
 * every thread has ended.
 *
 * @returns What each did, in the order of the shares.
 * @throws {HfStreamDcpError} the first failure. @throws `signal.reason` when aborted.
 */
export async function runThreads(options: ThreadsOptions): Promise<readonly ShareSummary[]> {
	const { shares, signal } = options;
	const listeners = listenersOf(options);
	const threads = shares.map((_, index) =>
		startThread(`thread ${index + 1}`, taskOf(options, index), at(listeners, index)),
	);
	let failure: { readonly error: unknown } | undefined;
	const fail = (error: unknown): void => {
		if (failure !== undefined) return;
		failure = { error };
		for (const thread of threads) thread.abort();
	};
	const onAbort = (): void => fail(signal?.reason);
	if (signal?.aborted === true) onAbort();
	signal?.addEventListener("abort", onAbort, { once: true });
	const summaries: ShareSummary[] = [];
	const watch = async (index: number): Promise<void> => {
		try {
			summaries[index] = await at(threads, index).ended;
		} catch (error) {
			fail(error);
		}
	};
	await Promise.all([...threads.keys()].map(watch));
	signal?.removeEventListener("abort", onAbort);
	if (failure !== undefined) throw failure.error;
	return summaries;
}

function taskOf(options: ThreadsOptions, index: number): ThreadTask {
	const { shares, owner, directory, source, environment, limits, connections } = options;
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
		maxOpenFiles: Math.max(1, Math.floor(defaultMaxOpenFiles() / shares.length)),
	};
}

/** One listener for each thread; what they count is added up. */
function listenersOf(options: ThreadsOptions): readonly ThreadListener[] {
	const { shares, owner, onEvent } = options;
	const threads = shares.map(() => ({ receivedBytes: 0, writtenBytes: 0, connections: 0 }));
	let received = options.receivedBytes;
	let written = 0;
	return threads.map((thread) => ({
		record: (finished) => owner.record(finished),
		onProgress({ receivedBytes, writtenBytes, events }) {
			if (receivedBytes > thread.receivedBytes) {
				received += receivedBytes - thread.receivedBytes;
				thread.receivedBytes = receivedBytes;
				onEvent({ kind: "received", bytes: received });
			}
			if (writtenBytes > thread.writtenBytes) {
				written += writtenBytes - thread.writtenBytes;
				thread.writtenBytes = writtenBytes;
				onEvent({ kind: "written", bytes: written });
			}
			for (const event of events) {
				if (event.kind === "connections") thread.connections = event.connections;
				const connections = threads.reduce((sum, one) => sum + one.connections, 0);
				onEvent(event.kind === "connections" ? { kind: "connections", connections } : event);
			}
		},
	}));
}
