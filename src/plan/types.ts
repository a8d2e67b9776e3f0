import type { Entry } from "../core/ports.ts";
import type { Expr } from "../core/expr.ts";
import type { SourceNote } from "../core/recipe.ts";
import type { Box } from "../core/box.ts";
import type { Dtype } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";
import type { Source } from "../core/source.ts";

/** One tensor of the checkpoint. */
export interface PlanTensor {
	readonly fqn: string;
	/** Dtype it is stored in. */
	readonly dtype: Dtype;
	/** Global shape. */
	readonly shape: Shape;
	/** How it is made; already cast to `dtype`. */
	readonly expr: Expr;
	/** Its entries are `plan.entries[firstEntry]` up to but not including `plan.entries[endEntry]`. */
	readonly firstEntry: number;
	readonly endEntry: number;
}

/** An entry and the tensor it is a block of. */
export interface PlanEntry extends Entry {
	/** Index in `plan.tensors`. */
	readonly tensor: number;
	/** Which of the plan's shares fills it. */
	readonly share: number;
}

/** Source bytes `start` up to but not including `end` of `source.files[file]`. */
export interface PlanRange {
	readonly file: number;
	readonly start: number;
	readonly end: number;
}

/** A block of an entry that one tile fills: a contiguous stretch of the entry's data. The parts of an entry cover it exactly once. */
export interface PlanPart {
	/** Index in `plan.entries`. */
	readonly entry: number;
	/** Block of the global tensor, inside the entry's box. */
	readonly box: Box;
}

/** Rows `start` up to but not including `end` of one axis of the global tensor. */
export interface AxisSpan {
	readonly axis: number;
	readonly start: number;
	readonly end: number;
}

/** The same rows of several entries: a compact way to write down many parts. {@link partsOf} lists them. */
export interface PlanSlab {
	/** `plan.entries[firstEntry]` up to but not including `plan.entries[endEntry]`. */
	readonly firstEntry: number;
	readonly endEntry: number;
	/** What of each entry's box; the axes that are not named are whole. Every span lies inside every entry. */
	readonly spans: readonly AxisSpan[];
}

/**
 * What is fetched at once and turned into target bytes at once: the unit of the memory budget. Tiles do not depend on one
 * another and may be worked off in any order, also when they fill parts of the same entry.
 */
export interface PlanTile {
	/** Sorted, disjoint, not adjacent. No source byte is in two tiles. Empty for constants. */
	readonly ranges: readonly PlanRange[];
	/** The staging memory it takes: the lengths of `ranges`, and for each large one a page to shift it by. */
	readonly stagingBytes: number;
	/** What it fills. */
	readonly slabs: readonly PlanSlab[];
}

/** Promises of the plan; exact, and asserted in tests. */
export interface PlanTotals {
	/** Weight bytes requested from the source. */
	readonly fetchBytes: number;
	/** Requests for weight bytes, without retries. */
	readonly requests: number;
	/** Bytes of all checkpoint files without `.metadata`, gaps between entries included. */
	readonly writeBytes: number;
	readonly entries: number;
	/** Entries more than the layout has shards, because blocks had to be cut to fit into memory. */
	readonly entriesCut: number;
	/** Entries more than that, because blocks had to be cut to balance the shares. */
	readonly entriesCutForShares: number;
	readonly files: number;
	/** Most memory the stream takes: staging, write buffers. */
	readonly memoryBytes: number;
	/** The largest tile. */
	readonly largestTileBytes: number;
	/**
	 * Data bytes that each rank of the training job owns (replicas counted for each rank): smallest and largest. With a layout that was
	 * read from a checkpoint, the data bytes in its files: who owns replicas is not known.
	 */
	readonly rankBytes: { readonly min: number; readonly max: number };
}

/** Everything that is decided before the first weight byte. Plain data, the same on every machine. */
export interface Plan {
	/** Changes when the same inputs would give other bytes or offsets. */
	readonly version: 1;
	readonly source: Source;
	readonly family: string;
	readonly target: string;
	readonly layout: string;
	readonly worldSize: number;
	/**
	 * Number of shares the plan was cut into, at least 1. An entry is in one of them and so is a tile; no two have a file or a source
	 * byte in common. Files are named `__{rank}_{share}.distcp`.
	 */
	readonly shares: number;
	readonly format: string;
	readonly tensors: readonly PlanTensor[];
	readonly entries: readonly PlanEntry[];
	/** Names of the data files, and their lengths in bytes. */
	readonly files: readonly { readonly name: string; readonly bytes: number }[];
	/** Share by share, and in source order: by file, then by first byte; constants first. */
	readonly tiles: readonly PlanTile[];
	readonly limits: PlanLimits;
	readonly tied: readonly SourceNote[];
	readonly dropped: readonly SourceNote[];
	readonly synthesised: readonly string[];
	readonly dequantised: readonly SourceNote[];
	readonly totals: PlanTotals;
}

/** Sizes that shape the tiles, bytes. */
export interface PlanLimits {
	/** What a thread may take in all, beyond what Node itself takes. */
	readonly budgetBytes: number;
	/** What of it the stream may take: staging and write buffers. */
	readonly memoryBytes: number;
	/** Write buffers in all; part of the budget. */
	readonly writeBufferBytes: number;
	/** Tiles are made about this large where the tensors allow it. */
	readonly tileBytes: number;
	/** No tile is larger: two of these fit into the staging memory. */
	readonly maxTileBytes: number;
	/** Largest request. A longer range becomes several. */
	readonly requestBytes: number;
}
