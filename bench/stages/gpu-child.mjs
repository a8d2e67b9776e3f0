// The GPU side of `kernel-child.mjs`: the back end that a conversion uses, and what it says of the device.
import { openGpu } from "../../dist/src/stream/webgpu/open-device.js";
import { createWebgpuBackend } from "../../dist/src/stream/webgpu/create-webgpu-backend.js";
import { selfTest } from "../../dist/src/stream/webgpu/self-test.js";

/** Adapter, limits and self-test, each on a device that is closed again. */
async function describeDevice() {
	const gpu = await openGpu();
	try {
		const begun = performance.now();
		const kernels = await selfTest(gpu);
		const selfTestSeconds = (performance.now() - begun) / 1000;
		const { name, info, limits } = gpu;
		return { name, info, limits: { ...limits }, selfTest: kernels, selfTestSeconds };
	} finally {
		await gpu[Symbol.asyncDispose]();
	}
}

/** A figure must be the GPU's: what it leaves to the CPU ends the run. */
export async function openGpuForBench() {
	const device = await describeDevice();
	const backend = await createWebgpuBackend({
		onTrouble: (reason) => {
			throw new Error(`the GPU left work to the CPU: ${reason}`);
		},
	});
	return { backend, facts: () => ({ ...device, counters: { ...backend.gpu } }) };
}
