/**
 * What is wrong, for programs. Stable.
 *
 * - `metadata`: `.metadata` cannot be read, or is not the one that the manifest belongs to.
 * - `manifest`: the manifest cannot be read, or says something else than `.metadata`.
 * - `coverage`: the chunks of a tensor leave a hole, or overlap.
 * - `missing`: a file that the checkpoint names is not there.
 * - `unreadable`: a file that is there cannot be read.
 * - `size`: a file is shorter or longer than it must be.
 * - `stray`: a data file that belongs to no entry.
 * - `place`: entries lie in one another, or outside of their file.
 * - `container`: the zip or the pickle of an entry is damaged, or is that of another tensor.
 * - `code`: a pickle names something that loading it would call and that no checkpoint needs.
 * - `data`: the data of an entry is not what its checksum was made of.
 * - `padding`: bytes that belong to no entry and are not zero.
 * - `source`: what the entry holds is not what its recipe makes of the source.
 * - `difference`: two checkpoints do not hold the same.
 */
export const PROBLEM_KINDS = [
	"metadata",
	"manifest",
	"coverage",
	"missing",
	"unreadable",
	"size",
	"stray",
	"place",
	"container",
	"code",
	"data",
	"padding",
	"source",
	"difference",
] as const;

/** See {@link PROBLEM_KINDS}. */
export type ProblemKind = (typeof PROBLEM_KINDS)[number];

/** One thing that is wrong with a checkpoint. */
export interface Problem {
	readonly kind: ProblemKind;
	/** One sentence for people: what is wrong with what. Names in it are quoted; it has no line breaks. */
	readonly message: string;
	/** The tensor or object, where it is about one. */
	readonly fqn?: string | undefined;
	/** Relative to the checkpoint's directory, where it is about one. */
	readonly file?: string | undefined;
	/** Bytes of `file`, half-open. */
	readonly range?: { readonly start: number; readonly end: number } | undefined;
}

/** Most problems that are kept; what comes after is only counted. */
const DEFAULT_MOST = 10_000;

/** Gathers problems. A checkpoint on a bad disk has one for every entry, so that only so many are kept. */
export class Problems {
	readonly #most: number;
	readonly #kept: Problem[] = [];
	#count = 0;

	constructor(most: number = DEFAULT_MOST) {
		this.#most = most;
	}

	/** All that were added. */
	get count(): number {
		return this.#count;
	}

	/** The first of them, in the order they were added. */
	get kept(): readonly Problem[] {
		return this.#kept;
	}

	add(problem: Problem): void {
		this.#count++;
		if (this.#kept.length < this.#most) this.#kept.push(problem);
	}

	/** Counts problems that another one counted but did not keep. */
	addUnkept(count: number): void {
		this.#count += count;
	}
}
