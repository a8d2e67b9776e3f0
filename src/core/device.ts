/** Which device reshards: the processor, a GPU by WebGPU, or whichever is quicker. The bytes are the same. */
export type DeviceOption = "cpu" | "webgpu" | "auto";

/** A GPU that was found. */
export interface GpuFacts {
	/** For people: `NVIDIA H200`. */
	readonly adapter: string;
	/** Whether it is the processor that plays the GPU: SwiftShader, llvmpipe. */
	readonly isSoftware: boolean;
	/** What the known-answer test found wrong, one sentence; `undefined` when every kernel passed. */
	readonly selfTest: string | undefined;
}

/** What a GPU did for one thread. */
export interface GpuCounters {
	/** The adapter, for people. */
	readonly device: string;
	/** Batches of work that were submitted. */
	readonly batches: number;
	/** Windows that the CPU made after the GPU had failed to. */
	readonly redone: number;
	/** What went wrong, one sentence for each kind of failure. */
	readonly reasons: readonly string[];
	/** Buffers that were created. */
	readonly buffers: number;
	/** Of these, after the first batch: none, as they are pooled. */
	readonly steadyBuffers: number;
}
