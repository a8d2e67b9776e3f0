import { isHfStreamDcpError } from "../core/errors.ts";
import { listAdapters } from "../stream/webgpu/list-adapters.ts";
import { openGpu } from "../stream/webgpu/open-device.ts";
import { selfTest } from "../stream/webgpu/self-test.ts";
import type { FromGpuProgram, GpuStep } from "./gpu-messages.ts";

// The program of the process that looks at the GPU: what it learns it tells at once, as its next call into a driver may be its last.

let step: GpuStep = "adapter";

/** Resolves when the message has left: after that a crash cannot take it back. */
function tell(message: FromGpuProgram): Promise<void> {
	return new Promise((resolve) => {
		if (process.send === undefined) resolve();
		else process.send(message, () => resolve());
	});
}

function begin(next: GpuStep): Promise<void> {
	step = next;
	return tell({ kind: "step", step });
}

async function look(): Promise<void> {
	await begin("adapter");
	await tell({ kind: "adapters", names: await listAdapters() });
	const gpu = await openGpu();
	const { info, limits } = gpu;
	await tell({ kind: "adapter", adapter: info, limits });
	await begin("self-test");
	await tell({ kind: "kernels", kernels: await selfTest(gpu) });
	// Not before: nothing else keeps it.
	await gpu[Symbol.asyncDispose]();
}

try {
	await look();
} catch (error) {
	const isOurs = isHfStreamDcpError(error);
	const known = isOurs ? (error.facts["step"] as GpuStep | undefined) : undefined;
	const message = error instanceof Error ? error.message : String(error);
	const hint = isOurs ? error.hint : undefined;
	await tell({ kind: "failed", failure: { step: known ?? step, message, hint } });
}
await tell({ kind: "done" });
process.disconnect?.();
