import type { GpuFacts } from "../../core/device.ts";
import { openGpu } from "./open-device.ts";
import { failedKernels, selfTest } from "./self-test.ts";

/** Options of {@link probeGpu}. */
export interface ProbeGpuOptions {
	/** Whether a driver that plays a GPU is tested as well. */
	readonly testsSoftware: boolean;
}

/**
 * Finds out which GPU there is and whether its kernels give the right bytes. Native code runs that can end the process.
 *
 * @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` when there is none.
 */
export async function probeGpu({ testsSoftware }: ProbeGpuOptions): Promise<GpuFacts> {
	await using gpu = await openGpu();
	const { name: adapter, info } = gpu;
	const isTested = testsSoftware || !info.isSoftware;
	const results = isTested ? await selfTest(gpu) : [];
	return { adapter, isSoftware: info.isSoftware, selfTest: failedKernels(results) };
}
