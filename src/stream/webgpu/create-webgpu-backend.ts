import type { GpuCounters } from "../../core/device.ts";
import { HfStreamDcpError } from "../../core/errors.ts";
import type { ReshardBackend, ReshardOp } from "../../core/ports.ts";

/** Options of {@link createWebgpuBackend}. */
export interface WebgpuBackendOptions {
	/** Told once for each kind of failure after which the CPU does the work. */
	readonly onTrouble: (reason: string) => void;
	/** The largest tile and window that will come; larger ones are worked off in pieces. */
	readonly tileBytes?: number | undefined;
	readonly windowBytes?: number | undefined;
	/** What of the work the GPU is to do. @default all that it can */
	readonly wants?: ((op: ReshardOp) => boolean) | undefined;
}

/** A back end that counts what the GPU does. */
export interface WebgpuBackend extends ReshardBackend {
	readonly gpu: GpuCounters;
}

/** @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` */
export async function createWebgpuBackend(_options: WebgpuBackendOptions): Promise<WebgpuBackend> {
	throw new HfStreamDcpError("DEVICE_UNAVAILABLE", "this version has no WebGPU back end");
}
