import type { EventListener } from "../core/events.ts";
import type { ByteSource, EntrySink, HashOption, ReshardBackend } from "../core/ports.ts";
import type { Places } from "../plan/places.ts";
import type { Plan } from "../plan/types.ts";
import type { Flusher } from "./flusher.ts";
import type { Pool } from "./pool.ts";
import type { Stretch } from "./stretches.ts";
import type { HashedPart } from "./strong-hash.ts";
import type { TaskScope } from "./task-scope.ts";

/** What one execution of a plan works with. */
export interface RunState {
	readonly plan: Plan;
	readonly places: Places;
	readonly source: ByteSource;
	readonly backend: ReshardBackend;
	readonly sink: EntrySink;
	readonly emit: EventListener;
	readonly scope: TaskScope;
	readonly flusher: Flusher;
	/** Whoever holds a buffer may have one write in flight. */
	readonly buffers: Pool<Uint8Array>;
	/** Size of each buffer. */
	readonly bufferBytes: number;
	/** Whether the sink writes past the page cache: bytes are then written from memory congruent to their place, page by page. */
	readonly isPaged: boolean;
	/** Called and waited for after so many bytes of work. */
	readonly breathe: (bytes: number) => Promise<void>;
	/** Held while a tile is turned into target bytes: one after the other frees staging memory soonest. */
	readonly processor: Pool<true>;
	/** What is written of the entries that are begun and not finished, by entry. */
	readonly begun: Map<number, BegunEntry>;
	readonly hash: HashOption;
	readonly counters: RunCounters;
}

/** What is written of an entry that is not finished. */
export interface BegunEntry {
	/** Sorted, disjoint, not adjacent. */
	readonly stretches: Stretch[];
	/** In the order in which they were made; none when no hash is asked for. */
	readonly parts: HashedPart[];
}

/** Totals of one execution. */
export interface RunCounters {
	fetchedBytes: number;
	requests: number;
	writtenBytes: number;
	directBytes: number;
	copiedBytes: number;
	/** Entries this execution finished. */
	entries: number;
}
