import type { Box } from "./box.ts";
import type { Dtype } from "./dtype.ts";
import type { Shape } from "./shape.ts";

/** One distinct block of a tensor and the ranks of the training job that hold it. */
export interface Shard {
	readonly box: Box;
	/** Ascending; more than one when the block is replicated. */
	readonly ranks: readonly number[];
	/** The one of `ranks` whose file holds the block, where the layout says so; elsewhere the plan chooses. */
	readonly storedBy?: number | undefined;
}

/** Who holds what: the only thing the plan asks of a layout, wherever it came from. */
export interface Layout {
	/** Number of ranks of the training job. */
	readonly worldSize: number;
	/** One line for people: `fsdp 8 × tp 8, ep 16 (512 ranks)`. */
	readonly description: string;
	/**
	 * The distinct blocks of one tensor. They cover it without overlap; blocks without elements are left out.
	 * Ordered by the first rank that holds each.
	 *
	 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when this tensor cannot be cut as the mesh demands.
	 */
	shardsOf(fqn: string, shape: Shape): readonly Shard[];
	/** What the layout stores a tensor as; `undefined`, also as a whole, where it does not say. */
	dtypeOf?(fqn: string): Dtype | undefined;
}

/** What a trainer's release does with parameters beyond the mesh itself; part of a key profile. */
export interface LayoutRules {
	/** `torchtitan`: its rules by key. `fsdp`: dim 0 of every tensor over dp_shard × cp, nothing else (Hugging Face modules under FSDP2). */
	readonly kind: "torchtitan" | "fsdp";
	/** Whether the model fuses QKV, which leaves `wq`, `wk`, `wv` whole on every rank of the state dict. */
	readonly fusedQkv: boolean;
	/**
	 * Without EP, experts are cut along dim 1 instead of dim 0 when this product exceeds the number of experts:
	 * `fsdp` = dp_replicate·dp_shard·cp (June and `partial_dtensor`), `fsdp_tp` = that times tp (`spmd_types`).
	 * Releases before 2026-03-23 (torchtitan #2668) `never` cut dim 1 without EP.
	 */
	readonly expertThreshold: "fsdp" | "fsdp_tp" | "never";
	/** Whether the release knows `expert_tensor_parallel_degree`. */
	readonly expertTensorParallel: boolean;
	/** Whether the model has layers for multi-token prediction, which torchtitan cuts by neither pp nor cp. @default false */
	readonly predictsTokens?: boolean | undefined;
}
