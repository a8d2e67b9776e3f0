import type { Box } from "../../core/box.ts";
import type { Dtype } from "../../core/dtype.ts";
import type { EventListener } from "../../core/events.ts";
import type { Expr } from "../../core/expr.ts";
import type { Shape } from "../../core/shape.ts";
import type { Environment } from "../../options.ts";
import type { Comparison } from "../../values/compare.ts";
import type { MeasuredTensor } from "../../values/measure.ts";

/** Which tensor to look at, and how. */
export interface InspectTensorOptions {
	/** The directory of a checkpoint, a directory with safetensors files, or `org/name` on the Hub. */
	readonly target: string;
	/**
	 * Name of the tensor, with an index by Python's rules where not all of it is wanted: `layers.0.attention.wq.weight[0:4, :, -1]`. With
	 * `chunk` the index counts in the chunk. May be left out with `entry`.
	 */
	readonly tensor?: string | undefined;
	/** Looks at one stored chunk of the tensor alone: its number in the order of the metadata, from 0. */
	readonly chunk?: number | undefined;
	/** Looks at the stored chunk that begins there: a file of the checkpoint, and bytes from its start. */
	readonly entry?: { readonly file: string; readonly offset: number } | undefined;
	/**
	 * Of a tensor of a checkpoint: makes it again from the model that it was converted from, and compares. `true`: the one that the manifest
	 * names; or another that has the same tensors: `org/name`, or a directory.
	 *
	 * @default false
	 */
	readonly source?: boolean | string | undefined;
	/** Whether to read all of what is asked for, for statistics; otherwise only the elements that are shown. @default true */
	readonly statistics?: boolean | undefined;
	/** Branch, tag or commit of a model on the Hub. @default "main", of a source that the manifest names its commit */
	readonly revision?: string | undefined;
	/** @default process.env */
	readonly environment?: Environment | undefined;
	/** Connections to one origin at a time. @default 16 */
	readonly connections?: number | undefined;
	/** Memory beyond what Node takes, bytes. @default 268435456 */
	readonly memoryBytes?: number | undefined;
	readonly signal?: AbortSignal | undefined;
	readonly onEvent?: EventListener | undefined;
}

/** What was found out about a tensor, or about a block of it. */
export interface InspectedTensor {
	/** The checkpoint's directory, or the model: `org/name` or a directory. */
	readonly target: string;
	/** `checkpoint`, or where a model's bytes come from. */
	readonly kind: "checkpoint" | "hub" | "cache" | "directory";
	/** Commit of a model; `undefined` of a checkpoint. */
	readonly commit: string | undefined;
	readonly name: string;
	/** Another name of it that was asked for: a source tensor that nothing else is made of. */
	readonly askedFor: string | undefined;
	readonly dtype: Dtype;
	/** Global shape of the tensor. */
	readonly shape: Shape;
	/** The block that was looked at, in the tensor, and its shape: without the axes of which the index takes one. */
	readonly block: { readonly box: Box; readonly shape: Shape };
	/** The chunk that was asked for alone. */
	readonly chunk: number | undefined;
	/** Where the block is stored. */
	readonly stored: readonly StoredPiece[];
	readonly values: MeasuredTensor;
	/** Side by side with what it was made of. */
	readonly source: InspectedSource | undefined;
}

/** A stretch of a file that has elements of the block. */
export interface StoredPiece {
	/** Number of the chunk in the order of the metadata; `undefined` of a model. */
	readonly chunk: number | undefined;
	/** What of the tensor lies there: the whole chunk. */
	readonly box: Box;
	readonly file: string;
	/** Where the entry begins, container included, and its length; of a model, the same as the data. Bytes. */
	readonly offset: number;
	readonly length: number;
	/** Where the data begins and ends in the file; of a model where the block is one stretch, those of the block. Bytes. */
	readonly dataBegin: number;
	readonly dataEnd: number;
}

/** The same block, made again of its source. */
export interface InspectedSource {
	readonly repo: string;
	readonly commit: string;
	readonly kind: "hub" | "cache" | "directory";
	/** How the tensor is made. */
	readonly recipe: Expr;
	/** The source tensors that it is made of, with their places. */
	readonly stored: readonly (StoredPiece & { readonly name: string })[];
	readonly values: MeasuredTensor;
	readonly comparison: Comparison;
}
