// Stands in for the WebGPU back end in a copy of the built program: the CPU's, with the accidents that `GPU_STUB` asks for.
// { at: window that it happens at, how: "SIGKILL" | … | "exit" | "block" | "unavailable", probe: facts | "crash" }
import { writeSync } from "node:fs";

const { at = Infinity, how, probe } = JSON.parse(process.env["GPU_STUB"] ?? "{}");
const base = import.meta.url;
const { HfStreamDcpError } = await import(new URL("../../core/errors.js", base));
const { createCpuBackend } = await import(new URL("../cpu/backend.js", base));

/** What drivers print must not be seen. */
function print() {
	writeSync(1, "NOISE OF A DRIVER on stdout\n");
	writeSync(2, "NOISE OF A DRIVER on stderr\n");
}

function happen() {
	// As a driver that calls exit().
	if (how === "exit") process.reallyExit(0);
	if (how === "block") for (;;);
	process.kill(process.pid, how);
}

export async function probeGpu() {
	print();
	if (probe === "crash") process.kill(process.pid, "SIGSEGV");
	if (probe === "none") throw new HfStreamDcpError("DEVICE_UNAVAILABLE", "no adapter");
	return { adapter: "Stub 1", isSoftware: false, ...probe };
}

export async function createWebgpuBackend() {
	print();
	if (how === "unavailable") throw new HfStreamDcpError("DEVICE_UNAVAILABLE", "no more of it");
	const cpu = createCpuBackend();
	const gpu = {
		device: "Stub 1",
		batches: 0,
		redone: 0,
		reasons: [],
		buffers: 1,
		steadyBuffers: 0,
	};
	return {
		name: `stub ${process.pid}`,
		gpu,
		allocate: (bytes) => cpu.allocate(bytes),
		async load(staging) {
			const loaded = await cpu.load(staging);
			return {
				async run(ops, target) {
					if (++gpu.batches === at) happen();
					await loaded.run(ops, target);
				},
				[Symbol.asyncDispose]: () => loaded[Symbol.asyncDispose](),
			};
		},
		[Symbol.asyncDispose]: () => cpu[Symbol.asyncDispose](),
	};
}
