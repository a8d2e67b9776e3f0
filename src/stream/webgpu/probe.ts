import type { GpuFacts } from "../../core/device.ts";
import { HfStreamDcpError } from "../../core/errors.ts";

/** How a GPU is looked for. */
export interface ProbeOptions {
	/** Whether adapters in software are tested as well, or only named. */
	readonly testsSoftware: boolean;
}

/** @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` */
export async function probeGpu(_options: ProbeOptions): Promise<GpuFacts> {
	throw new HfStreamDcpError("DEVICE_UNAVAILABLE", "this version has no WebGPU back end");
}
