import type { Plan } from "../plan/types.ts";
import type { GpuSizes } from "../stream/webgpu/pools.ts";
import { layOutWriteBuffers } from "../stream/write-buffers.ts";

/** What a GPU is given at once at most: the largest tile of a plan, and a write buffer. */
export function gpuSizesOf({ totals, limits }: Pick<Plan, "totals" | "limits">): GpuSizes {
	return {
		tileBytes: totals.largestTileBytes,
		windowBytes: layOutWriteBuffers(limits.writeBufferBytes).bufferBytes,
	};
}
