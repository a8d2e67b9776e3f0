import type { Box } from "../core/box.ts";
import type { Dtype } from "../core/dtype.ts";
import type { Expr } from "../core/expr.ts";
import type { CommandFacts, JobSummary } from "../core/job-summary.ts";
import type { LayoutRules } from "../core/layout.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { SourceNote } from "../core/recipe.ts";
import type { Shape } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import type { ParallelismInput } from "../layout/parallelism.ts";

/** Name of the manifest in a checkpoint's directory. */
export const MANIFEST_NAME = "hf-stream-dcp.json";

/**
 * What is known of a checkpoint that this program wrote: where every byte came from, how it was made, and what it must be. Lies
 * beside `.metadata`, which cannot say it. Described in `docs/manifest.md`.
 */
export interface Manifest {
	readonly format: "hf-stream-dcp manifest 1";
	/** Version of the program. */
	readonly tool: string;
	/** `version` of the plan. */
	readonly planVersion: number;
	/** Identity of the plan: 64 hex digits. */
	readonly planId: string;
	/** What the command asked for. */
	readonly command: CommandFacts;
	/** The commit, its files with their SHA-256 where the Hub states it, the source tensors with their ranges, `config.json`. */
	readonly source: Source;
	readonly family: string;
	/** Name of the key profile. */
	readonly target: string;
	/** What a layout for another mesh depends on, beside keys and shapes. */
	readonly facts: ModelFacts;
	readonly rules: LayoutRules;
	readonly layout: {
		/** One line for people. */
		readonly description: string;
		readonly worldSize: number;
		/** `undefined` for a layout that was read from a checkpoint or a layout file. */
		readonly mesh?: ParallelismInput | undefined;
	};
	/** The hash of {@link ManifestEntry.hash}; `none` when the conversion was told not to compute it. */
	readonly hash: "sha256" | "none";
	/** Ranks whose files the directory holds, `0-7`, where it is one of several (`--local-output`); otherwise all. */
	readonly ranks?: string | undefined;
	/** The `.metadata` that belongs to it. */
	readonly metadata: { readonly bytes: number; readonly sha256: string };
	/** Data files, in the order that `entries` count them in. */
	readonly files: readonly { readonly name: string; readonly bytes: number }[];
	/** The distinct sets of ranks that hold an entry, each as ranges: `0-7,16`. */
	readonly holders: readonly string[];
	readonly tensors: readonly ManifestTensor[];
	readonly tied: readonly SourceNote[];
	readonly dropped: readonly SourceNote[];
	readonly synthesised: readonly string[];
	readonly dequantised: readonly SourceNote[];
	/** As in `summary.json`. */
	readonly summary: JobSummary;
}

/** One tensor of the checkpoint. */
export interface ManifestTensor {
	readonly fqn: string;
	readonly dtype: Dtype;
	/** Global shape. */
	readonly shape: Shape;
	/** How it is made of source tensors; its dtype is `dtype`. */
	readonly recipe: Expr;
	/** In the order of the metadata's chunk list. */
	readonly entries: readonly ManifestEntry[];
}

/** One stored chunk. */
export interface ManifestEntry {
	readonly box: Box;
	/** Index in {@link Manifest.files}. */
	readonly file: number;
	/** Where the entry (not its data) begins in the file, bytes. */
	readonly offset: number;
	/** Of the whole entry, bytes. */
	readonly length: number;
	/** Index in {@link Manifest.holders}. */
	readonly holders: number;
	/** CRC-32 of its data; `undefined` when its file is not in this directory (`--local-output`). */
	readonly crc32?: number | undefined;
	/**
	 * SHA-256 of its data, 64 hex digits. Of an entry whose {@link ends} are given: of the SHA-256 digests (32 bytes each) of its stretches, one
	 * after the other.
	 */
	readonly hash?: string | undefined;
	/**
	 * Where the stretches end that were made, and hashed, one by one: bytes from the start of the data, ascending, the last one its length.
	 * Left out when there is one.
	 */
	readonly ends?: readonly number[] | undefined;
}
