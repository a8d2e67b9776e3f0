import type { Dtype } from "./dtype.ts";
import type { Entry } from "./ports.ts";
import type { Shape } from "./shape.ts";

/** One tensor of a checkpoint and its stored chunks. */
export interface CheckpointTensor {
	readonly fqn: string;
	readonly dtype: Dtype;
	/** Global shape. */
	readonly shape: Shape;
	/** In the order of the metadata's chunk list. */
	readonly entries: readonly Entry[];
}

/** What `.metadata` says, as plain data: the same record for what we write and for what we read. */
export interface CheckpointIndex {
	readonly tensors: readonly CheckpointTensor[];
	/** Keys whose value is a pickled Python object instead of a tensor (`step`, data loader state, …), with their place. */
	readonly objects: readonly CheckpointObject[];
}

/** A non-tensor item of a checkpoint. Its bytes are never unpickled here. */
export interface CheckpointObject {
	readonly fqn: string;
	readonly file: string;
	readonly offset: number;
	readonly length: number;
}

/** Folder in a checkpoint's directory that holds what is unfinished of it; readers do not look into it. */
export const STATE_NAME = ".hf-stream-dcp";
