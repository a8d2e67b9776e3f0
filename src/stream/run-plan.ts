import { boxNumel } from "../core/box.ts";
import { invariant } from "../core/errors.ts";
import { emitTo, type EventListener } from "../core/events.ts";
import { PAGE_BYTES } from "../core/pages.ts";
import type { ByteSource, EntrySink, HashOption, ReshardBackend } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { placesOf } from "../plan/places.ts";
import type { Plan } from "../plan/types.ts";
import { type Arena, createArena, type Lease } from "./arena.ts";
import { fetchTile } from "./fetch-tile.ts";
import { createBreather } from "./breather.ts";
import { createFlusher } from "./flusher.ts";
import { type LiveTile, liveTile } from "./live-tile.ts";
import { createPool } from "./pool.ts";
import type { RunState } from "./run-state.ts";
import { createTaskScope } from "./task-scope.ts";
import { EMPTY_HASH } from "./strong-hash.ts";
import { stageTile } from "./staged-tile.ts";
import { cutWriteBuffers, layOutWriteBuffers } from "./write-buffers.ts";
import { writeTile } from "./write-tile.ts";

/** What {@link runPlan} works with. The caller keeps the ports and disposes of them. */
export interface RunPlanOptions {
	readonly plan: Plan;
	readonly source: ByteSource;
	readonly backend: ReshardBackend;
	readonly sink: EntrySink;
	/** Computed of every entry beside its CRC-32. @default "none" */
	readonly hash?: HashOption | undefined;
	readonly signal?: AbortSignal | undefined;
	/** Hears `written` and `entry`; what is received is for the source to tell. */
	readonly onEvent?: EventListener | undefined;
	/** Whether the plan was left some of its tiles only, so that entries stay without some of their data. @default false */
	readonly isPartial?: boolean | undefined;
	/** Milliseconds of a clock that never goes back. @default performance.now */
	readonly now?: (() => number) | undefined;
}

/** What a run did. Bytes, but for the counts. */
export interface RunSummary {
	/** Received from the source. */
	readonly fetchedBytes: number;
	readonly requests: number;
	/** Handed to the sink: `directBytes` straight from where they were received, `copiedBytes` through a write buffer. */
	readonly writtenBytes: number;
	readonly directBytes: number;
	readonly copiedBytes: number;
	/** Entries finished by this run, and by earlier ones. */
	readonly entries: number;
	readonly resumedEntries: number;
	/** Most staging memory in use at any one time. */
	readonly peakStagingBytes: number;
}

/** Buffers of this size hold whole pages, and a page less of them is still worth a write past the page cache. */
const MIN_PAGED_BUFFER_BYTES = 16 * PAGE_BYTES;

/** Tiles that are open at once; the memory is the real bound, this keeps a plan of tiny tiles from opening all of them. */
const MAX_OPEN_TILES = 256;

/**
 * Executes a plan: fetches every tile's ranges, makes the target bytes and hands them to the sink, entry by entry complete with
 * its CRC-32. Tiles are fetched in the plan's order, as far ahead as the memory budget reaches, and worked off as they arrive.
 * Entries that the sink knows as finished are left alone, and bytes that only they need are not fetched.
 *
 * When it settles, no read or write is under way; all entries it finished have been flushed, also when it fails.
 *
 * @throws {HfStreamDcpError} the first failure of a port; `BUDGET_EXCEEDED` when a tile does not fit into the memory.
 * @throws `signal.reason` when aborted.
 */
export async function runPlan(options: RunPlanOptions): Promise<RunSummary> {
	const { plan, sink, signal, isPartial = false } = options;
	signal?.throwIfAborted();
	const { buffers, arena } = allocateMemory(options);
	const run = createRunState(options, buffers);
	const skipped = skippedEntries(run);
	void run.scope.run(async () => await finishEmptyEntries(run, skipped.empty));
	void run.scope.run(async () => await openTiles(run, arena, skipped));
	try {
		await run.scope.settled();
	} catch (error) {
		await flushQuietly(sink);
		throw error;
	}
	await sink.flush();
	const { counters } = run;
	const resumedEntries = skipped.finished.size;
	const missing = plan.entries.length - resumedEntries - counters.entries;
	invariant(missing === 0 || isPartial, `the plan's tiles leave ${missing} entries unfilled`);
	return { ...counters, resumedEntries, peakStagingBytes: arena.peakBytes };
}

/** All the memory of a run, as the back end likes it best: write buffers in front, staging behind them. */
function allocateMemory({ plan, backend }: RunPlanOptions): {
	readonly buffers: readonly Uint8Array[];
	readonly arena: Arena;
} {
	const { memoryBytes, writeBufferBytes } = plan.limits;
	const layout = layOutWriteBuffers(writeBufferBytes);
	const memory = backend.allocate(layout.totalBytes + memoryBytes - writeBufferBytes);
	return {
		buffers: cutWriteBuffers(memory, layout),
		arena: createArena(memory.subarray(layout.totalBytes)),
	};
}

function createRunState(options: RunPlanOptions, buffers: readonly Uint8Array[]): RunState {
	const { plan, source, backend, sink, hash = "none", signal, onEvent } = options;
	const bufferBytes = at(buffers, 0).length;
	const scope = createTaskScope(signal);
	const flush = async (): Promise<boolean> => await scope.run(async () => await sink.flush());
	return {
		plan,
		places: placesOf(plan),
		source,
		backend,
		sink,
		emit: emitTo(onEvent),
		scope,
		flusher: createFlusher({
			flush,
			bufferedBytes: () => sink.writes.bufferedBytes,
			now: options.now ?? (() => performance.now()),
		}),
		buffers: createPool(buffers),
		bufferBytes,
		isPaged: sink.writes.mode === "direct" && bufferBytes >= MIN_PAGED_BUFFER_BYTES,
		breathe: createBreather(),
		processor: createPool([true]),
		begun: new Map(),
		hash,
		counters: {
			fetchedBytes: 0,
			requests: 0,
			writtenBytes: 0,
			directBytes: 0,
			copiedBytes: 0,
			entries: 0,
		},
	};
}

/** Entries that no tile fills. */
interface SkippedEntries {
	/** By an earlier run. */
	readonly finished: ReadonlySet<number>;
	/** Without elements, and not finished. */
	readonly empty: ReadonlySet<number>;
}

function skippedEntries({ plan, sink, emit }: RunState): SkippedEntries {
	const finished = new Set<number>();
	const empty = new Set<number>();
	plan.entries.forEach(({ box }, index) => {
		if (sink.isFinished(index)) {
			finished.add(index);
			emit({ kind: "entry", index, resumed: true });
		} else if (boxNumel(box) === 0) empty.add(index);
	});
	return { finished, empty };
}

async function finishEmptyEntries(run: RunState, empty: ReadonlySet<number>): Promise<void> {
	for (const index of empty) {
		run.scope.signal.throwIfAborted();
		await run.sink.finish(index, 0, run.hash === "none" ? undefined : EMPTY_HASH);
		run.counters.entries++;
		run.emit({ kind: "entry", index, resumed: false });
	}
}

/** Opens tile after tile, each as soon as its memory is there. */
async function openTiles(run: RunState, arena: Arena, skipped: SkippedEntries): Promise<void> {
	const turns = createPool(Array.from({ length: MAX_OPEN_TILES }, () => true));
	const isSkipped = (entry: number): boolean =>
		skipped.finished.has(entry) || skipped.empty.has(entry);
	for (const planned of run.plan.tiles) {
		const tile = liveTile(run.plan, planned, run.places, isSkipped);
		if (tile === undefined) continue;
		const turn = await turns.acquire();
		const lease = await arena.reserve(tile.stagingBytes, run.scope.signal);
		void run.scope.run(async () => {
			try {
				await runTile(run, tile, lease);
			} finally {
				turns.release(turn);
			}
		});
	}
}

async function runTile(run: RunState, tile: LiveTile, lease: Lease): Promise<void> {
	const staged = stageTile(run, tile, lease.bytes);
	try {
		await fetchTile(run, staged);
		const token = await run.processor.acquire();
		try {
			run.scope.signal.throwIfAborted();
			await writeTile(run, staged);
		} finally {
			run.processor.release(token);
		}
	} finally {
		await Promise.all(staged.writes);
		lease.release();
	}
}

/** After a failure: what is finished need not be made again. The failure itself is what the caller must hear of. */
async function flushQuietly(sink: EntrySink): Promise<void> {
	try {
		await sink.flush();
	} catch {
		// Only the first failure counts.
	}
}
