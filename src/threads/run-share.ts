import type { GpuCounters } from "../core/device.ts";
import type { EventListener } from "../core/events.ts";
import type { ByteSource, HashOption, ReshardBackend, WriteCounters } from "../core/ports.ts";
import { createEntryWriter, type EntryWriterOptions } from "../dcp/entry-writer.ts";
import type { Plan } from "../plan/types.ts";
import { createCpuBackend } from "../stream/cpu/backend.ts";
import { runPlan, type RunSummary } from "../stream/run-plan.ts";

/** What one thread did. */
export interface ShareSummary extends RunSummary {
	/** Requests that were sent again. */
	readonly retries: number;
	/** From the start of the stream to the end of its last flush. */
	readonly seconds: number;
	/** Name of the reshard back end. */
	readonly backend: string;
	/** What its GPU did, if it had one. */
	readonly gpu?: GpuCounters | undefined;
	/** How the data files were written. */
	readonly writes: WriteCounters;
}

/** What a thread works with, and where its entries go. */
export interface ShareOptions extends Pick<
	EntryWriterOptions,
	"directory" | "isFinished" | "record" | "maxOpenFiles" | "writeMode"
> {
	readonly plan: Plan;
	readonly source: ByteSource;
	/** Computed of every entry beside its CRC-32. */
	readonly hash: HashOption;
	/** Makes the back end, which is disposed of at the end. @default that of the CPU */
	readonly openBackend?: (() => Promise<ReshardBackend>) | undefined;
	readonly signal?: AbortSignal | undefined;
	/** Hears `written` and `entry`. */
	readonly onEvent: EventListener;
}

/**
 * Runs a plan, or one thread's share of it, in this thread: with sockets, memory, checksums and files of its own. When it settles,
 * everything is closed and what was finished is flushed.
 *
 * @throws {HfStreamDcpError} the first failure of the source or of the files; what `openBackend` throws. @throws `signal.reason` when
 * aborted.
 */
export async function runShare(options: ShareOptions): Promise<Omit<ShareSummary, "retries">> {
	const { plan, source, hash, signal, onEvent, openBackend } = options;
	const started = performance.now();
	await using backend = openBackend === undefined ? createCpuBackend() : await openBackend();
	const { entries, files } = plan;
	await using sink = createEntryWriter({ ...options, entries, files });
	const summary = await runPlan({ plan, source, backend, sink, hash, signal, onEvent });
	const seconds = (performance.now() - started) / 1000;
	return { ...summary, seconds, backend: backend.name, writes: { ...sink.writes } };
}
