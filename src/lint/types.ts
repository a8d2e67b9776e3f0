import type { Dtype } from "../core/dtype.ts";
import type { Layout } from "../core/layout.ts";
import type { Shape } from "../core/shape.ts";

/** A tensor of the state dict that a trainer loads into. */
export interface ExpectedTensor {
	readonly fqn: string;
	/** Global. */
	readonly shape: Shape;
	/** Of the trainer's parameter; `undefined` where it is not known: then it is taken to be what is stored. */
	readonly dtype?: Dtype | undefined;
}

/** The job that is to load a checkpoint. */
export interface Trainer {
	/** In any order; names are unique. */
	readonly tensors: readonly ExpectedTensor[];
	/** Keys of its state dict that are no tensors. Every rank reads them. */
	readonly objects: readonly string[];
	readonly layout: Layout;
}

/**
 * What lint finds, for programs. Stable.
 *
 * - `mesh`: the model does not fit the mesh; `uneven`: a tensor cannot be cut by it so that torch saves and loads it.
 * - `missing`: the trainer has a key and the checkpoint does not; `extra`: the other way round.
 * - `shape`: both have it, in another shape. `dtype`: in another dtype, to which torch casts without a word.
 * - `object`: a tensor in one, a pickled object in the other.
 * - `hole`, `overlap`: the chunks of a tensor do not cover it, or cover some of it twice.
 * - `file`: a data file is missing, or shorter than what it must hold. `entry`: an entry is too short for its chunk.
 * - `rank-metadata`: the checkpoint has a `.metadata` for each rank, and not for these ranks.
 * - `qkv`: parts of fused QKV are read whole by every rank.
 * - `waste`: more bytes are read than allowed. `buffer`: the file system's block size makes small reads large.
 */
export const LINT_KINDS = [
	"mesh",
	"uneven",
	"missing",
	"extra",
	"shape",
	"dtype",
	"object",
	"hole",
	"overlap",
	"file",
	"entry",
	"rank-metadata",
	"qkv",
	"waste",
	"buffer",
] as const;

/** See {@link LINT_KINDS}. */
export type LintKind = (typeof LINT_KINDS)[number];

/** One thing that lint found, of one or many tensors. */
export interface LintFinding {
	readonly kind: LintKind;
	/**
	 * `error`: the load fails, or goes wrong without a word, or costs more than allowed. `warning`: values change, or much is read in vain.
	 * `note`: nothing is wrong.
	 */
	readonly severity: "error" | "warning" | "note";
	/** One sentence for people. */
	readonly message: string;
	/** What torch does: the exception that it raises, or `undefined` when it says nothing. */
	readonly raises: string | undefined;
	/** What to do; empty when there is nothing. */
	readonly hint: string;
	/** How many tensors, keys or files it is about. */
	readonly count: number;
	/** The first of them, with what is to be said of each. */
	readonly examples: readonly string[];
}

/** What one rank reads. All in bytes or counts. */
export interface RankCost {
	readonly rank: number;
	/** From data files. */
	readonly readBytes: number;
	/** Of it, data of tensors: whole entries, also where a part of them is needed. The rest are containers and what buffers read ahead. */
	readonly dataBytes: number;
	/** Of the tensors that it holds, in the dtype in which they are stored. */
	readonly neededBytes: number;
	/** Read items: entries that are opened, each as often as it is. */
	readonly entries: number;
	/** System calls that read data files. */
	readonly reads: number;
	/** Data files that are opened. */
	readonly files: number;
	/** The largest tensor that is held beside the trainer's own at a time. */
	readonly peakBytes: number;
}

/** What one tensor costs one rank. */
export interface TensorCost {
	readonly fqn: string;
	readonly readBytes: number;
	readonly neededBytes: number;
	readonly entries: number;
}
