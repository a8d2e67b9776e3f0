import { expect } from "vitest";
import { create } from "webgpu";
import type { ReshardOp } from "../../src/core/ports.ts";
import {
	type DispatchBases,
	dispatchParams,
	encodeJobs,
	type EncodedJobs,
} from "../../src/stream/webgpu/encode-jobs.ts";
import { JOB_WORDS, KERNELS, type KernelName } from "../../src/stream/webgpu/job-table.ts";
import { BINDINGS, ENTRY_POINT, kernelSource } from "../../src/stream/webgpu/wgsl/kernels.ts";

const COMPUTE = 4;
const MAP_READ = 1;
const COPY_SRC = 4;
const COPY_DST = 8;
const UNIFORM = 64;
const STORAGE = 128;

const PARAM_STRIDE = 256;
const MAX_JOBS = 8192;

/** What the target holds before the kernels run. */
const STALE = 0xa5;

/** Words around the target that no kernel may touch. */
const GUARD_WORDS = 16;

/** What a run made. */
export interface RigResult {
	readonly bytes: Uint8Array;
	readonly encoded: EncodedJobs;
}

/** Every kernel on a device, with buffers of their own: nothing of the back end is between them and a test. */
export interface KernelRig extends AsyncDisposable {
	/**
	 * Runs ops on the device.
	 *
	 * @param bases - Where the source and the jobs' target begin, when not at 0; places wrap around at 4 GiB.
	 * @throws {Error} when the device reports an error, or a kernel touched what lies around the target.
	 */
	run(
		ops: readonly ReshardOp[],
		staging: Uint8Array,
		targetBytes: number,
		bases?: { readonly sourceBase?: number; readonly targetWord?: number },
	): Promise<RigResult>;
}

/** The object that makes devices: while one lives it must not be collected. */
let gpu: GPU | undefined;

/** Opens the first adapter there is and compiles all kernels. */
export async function openKernelRig(maxBytes: number): Promise<KernelRig> {
	gpu ??= create([]);
	const adapter = await gpu.requestAdapter();
	if (adapter === null) throw new Error("no adapter");
	const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
	const device = await adapter.requestDevice({
		requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
	});
	const layout = device.createBindGroupLayout({
		entries: BINDINGS.map(({ binding, type, hasDynamicOffset }) => ({
			binding,
			visibility: COMPUTE,
			buffer: { type, hasDynamicOffset },
		})),
	});
	const pipelines = await compile(device, layout);
	const size = Math.ceil(maxBytes / 4) * 4;
	const targetSize = size + 8 * GUARD_WORDS;
	const buffer = (bytes: number, usage: number): GPUBuffer =>
		device.createBuffer({ size: bytes, usage });
	const source = buffer(size, STORAGE | COPY_DST);
	const target = buffer(targetSize, STORAGE | COPY_DST | COPY_SRC);
	const table = buffer(MAX_JOBS * JOB_WORDS * 4, STORAGE | COPY_DST);
	const params = buffer(KERNELS.length * PARAM_STRIDE, UNIFORM | COPY_DST);
	const readback = buffer(targetSize, MAP_READ | COPY_DST);
	const group = device.createBindGroup({
		layout,
		entries: [source, target, table, params].map((resource, binding) => ({
			binding,
			resource: binding === 3 ? { buffer: resource, size: 32 } : { buffer: resource },
		})),
	});
	const jobTable = new Uint32Array(MAX_JOBS * JOB_WORDS);

	const submit = (encoded: EncodedJobs, bases: DispatchBases, words: number): void => {
		const { queue } = device;
		queue.writeBuffer(table, 0, jobTable, 0, encoded.jobs * JOB_WORDS);
		const encoder = device.createCommandEncoder();
		if (encoded.clear) encoder.clearBuffer(target, 4 * GUARD_WORDS, 4 * words);
		for (const [i, dispatch] of encoded.dispatches.entries()) {
			queue.writeBuffer(params, i * PARAM_STRIDE, dispatchParams(dispatch, bases));
		}
		const pass = encoder.beginComputePass();
		for (const [i, { kernel, x, y }] of encoded.dispatches.entries()) {
			pass.setPipeline(pipelines.get(kernel)!);
			pass.setBindGroup(0, group, [i * PARAM_STRIDE]);
			pass.dispatchWorkgroups(x, y);
		}
		pass.end();
		encoder.copyBufferToBuffer(target, 0, readback, 0, 4 * (words + 2 * GUARD_WORDS));
		queue.submit([encoder.finish()]);
	};

	return {
		async run(ops, staging, targetBytes, { sourceBase = 0, targetWord = 0 } = {}) {
			const words = Math.ceil(targetBytes / 4);
			if (staging.length > size || 4 * words > size) throw new Error("too much at once");
			device.pushErrorScope("validation");
			device.pushErrorScope("out-of-memory");
			// Zeroes behind the last byte would hide a kernel that reads too far.
			const padded = new Uint8Array(Math.ceil(staging.length / 4) * 4).fill(STALE);
			padded.set(staging);
			device.queue.writeBuffer(source, 0, padded);
			const stale = new Uint8Array(4 * (words + 2 * GUARD_WORDS)).fill(STALE);
			device.queue.writeBuffer(target, 0, stale);
			const encoded = encodeJobs(ops, jobTable);
			const bases = { sourceBase, targetWord: targetWord + GUARD_WORDS, tableWord: 0 };
			submit(encoded, bases, words);
			const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
			for (const error of errors) if (error !== null) throw new Error(error.message);
			await readback.mapAsync(1, 0, stale.length);
			const all = new Uint8Array(readback.getMappedRange(0, stale.length)).slice();
			readback.unmap();
			const end = 4 * (GUARD_WORDS + words);
			const guards = Buffer.concat([all.subarray(0, 4 * GUARD_WORDS), all.subarray(end)]);
			expect(guards.every((byte) => byte === STALE)).toBe(true);
			return { bytes: all.slice(4 * GUARD_WORDS, 4 * GUARD_WORDS + targetBytes), encoded };
		},
		async [Symbol.asyncDispose]() {
			device.destroy();
			await device.lost;
		},
	};
}

async function compile(
	device: GPUDevice,
	layout: GPUBindGroupLayout,
): Promise<Map<KernelName, GPUComputePipeline>> {
	const whole = device.createPipelineLayout({ bindGroupLayouts: [layout] });
	const pipelines = new Map<KernelName, GPUComputePipeline>();
	for (const name of KERNELS) {
		const module = device.createShaderModule({ label: name, code: kernelSource(name) });
		const { messages } = await module.getCompilationInfo();
		for (const { message, lineNum } of messages) throw new Error(`${name}:${lineNum}: ${message}`);
		const compute = { module, entryPoint: ENTRY_POINT };
		pipelines.set(name, await device.createComputePipelineAsync({ layout: whole, compute }));
	}
	return pipelines;
}
