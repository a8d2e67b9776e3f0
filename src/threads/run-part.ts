import type { GpuCounters } from "../core/device.ts";
import { isHfStreamDcpError } from "../core/errors.ts";
import type { ThreadsCount } from "./count-threads.ts";
import type { FromThread, ThreadTask } from "./messages.ts";
import type { ShareSummary } from "./run-share.ts";
import { type RunningThread, startThread } from "./thread.ts";

type Finished = Extract<FromThread, { kind: "record" }>["finished"];

/** What a part of a share is run with. */
export interface PartOptions {
	/** For people: `thread 2`. */
	readonly name: string;
	/** Which of the parts. */
	readonly index: number;
	readonly task: ThreadTask;
	readonly count: ThreadsCount;
	/** Writes down entries whose files were synced. */
	readonly record: (finished: Finished) => Promise<void>;
	/** The GPU failed at something, or is lost; the CPU does the rest. */
	readonly onTrouble: (reason: string) => void;
	/** Told of every thread that is started: the last one is to be stopped. */
	readonly onStart: (thread: RunningThread) => void;
	/** Aborted when nothing is to be started any more. */
	readonly signal: AbortSignal;
}

/**
 * Runs a part of a share in a thread. When that used a GPU and its process was lost, or the GPU cannot be used, another thread without
 * one does what is left: all that is not written down.
 *
 * @throws {HfStreamDcpError} what the share failed with; `WORKER_FAILED` when the thread without a GPU ended without a result.
 * @throws `signal.reason`
 */
export async function runPart(options: PartOptions): Promise<ShareSummary> {
	const { task, signal } = options;
	const first = start(options, task);
	try {
		return await first.thread.ended;
	} catch (error) {
		if (task.device === "cpu" || !isHfStreamDcpError(error, "DEVICE_UNAVAILABLE")) throw error;
		signal.throwIfAborted();
		options.onTrouble(error.message);
		const lost = await first.loss(error.message);
		signal.throwIfAborted();
		const rest = await start(options, { ...task, device: "cpu", finished: lost.finished }).thread
			.ended;
		return addLoss(rest, lost);
	}
}

/** What a thread left behind that was lost. */
interface Loss {
	/** As in the task, with what it finished. */
	readonly finished: Uint8Array;
	/** Entries that it finished. */
	readonly entries: number;
	readonly fetchedBytes: number;
	readonly writtenBytes: number;
	readonly requests: number;
	readonly gpu: GpuCounters;
}

interface Started {
	readonly thread: RunningThread;
	/**
	 * Waits until what it said is written down.
	 *
	 * @throws what writing it down failed with.
	 */
	loss(reason: string): Promise<Loss>;
}

function start(options: PartOptions, task: ThreadTask): Started {
	const { count, onProgress } = options.count.begin(options.index);
	const recorded = new Set<number>();
	let recording: Promise<void> = Promise.resolve();
	let gpu: GpuCounters | undefined;
	const thread = startThread(options.name, task, {
		onProgress,
		record(entries) {
			const record = async (): Promise<void> => {
				await options.record(entries);
				for (const { index } of entries) recorded.add(index);
			};
			recording = record();
			return recording;
		},
		onTrouble: options.onTrouble,
		onGpu: (counters) => (gpu = counters),
	});
	options.onStart(thread);
	return {
		thread,
		async loss(reason) {
			await recording;
			const { entries } = task.share;
			const { receivedBytes: fetchedBytes, writtenBytes, requests } = count;
			return {
				finished: task.finished.map((bit, own) => (recorded.has(entries[own] ?? -1) ? 1 : bit)),
				entries: recorded.size,
				fetchedBytes,
				writtenBytes,
				requests,
				gpu: withReason(gpu, reason),
			};
		},
	};
}

function withReason(gpu: GpuCounters | undefined, reason: string): GpuCounters {
	const none = { device: "", batches: 0, redone: 0, reasons: [], buffers: 0, steadyBuffers: 0 };
	const counted = gpu ?? none;
	return { ...counted, reasons: [...counted.reasons, reason] };
}

/** What both did. What the lost one had under way is counted twice, as it was done twice. */
function addLoss(rest: ShareSummary, lost: Loss): ShareSummary {
	return {
		...rest,
		fetchedBytes: rest.fetchedBytes + lost.fetchedBytes,
		writtenBytes: rest.writtenBytes + lost.writtenBytes,
		requests: rest.requests + lost.requests,
		entries: rest.entries + lost.entries,
		resumedEntries: rest.resumedEntries - lost.entries,
		gpu: lost.gpu,
	};
}
