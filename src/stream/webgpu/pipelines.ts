import { at } from "../../core/shape.ts";
import { COMPUTE_STAGE, type Gpu } from "./gpu.ts";
import { asGpuFailure } from "./gpu-failure.ts";
import { KERNELS, type KernelName, PARAM_WORDS } from "./job-table.ts";
import type { GpuPools } from "./pools.ts";
import { BINDINGS, ENTRY_POINT, kernelSource } from "./wgsl/kernels.ts";

/** What dispatches of one device need. */
export interface Pipelines {
	readonly byKernel: ReadonlyMap<KernelName, GPUComputePipeline>;
	/** The buffers of the pools; the parameters of a dispatch are chosen by a dynamic offset. */
	readonly bindGroup: GPUBindGroup;
}

/**
 * Compiles every kernel, once for a device.
 *
 * @throws {GpuFailure} when the driver does not compile one.
 */
export async function createPipelines(gpu: Gpu, pools: GpuPools): Promise<Pipelines> {
	const { device } = gpu;
	const byKernel = new Map<KernelName, GPUComputePipeline>();
	const made: { group?: GPUBindGroup; compiled?: Promise<GPUComputePipeline[]> } = {};
	await gpu.guard(() => {
		const entries = BINDINGS.map(({ binding, type, hasDynamicOffset }) => {
			return { binding, visibility: COMPUTE_STAGE, buffer: { type, hasDynamicOffset } };
		});
		const groupLayout = device.createBindGroupLayout({ entries });
		const layout = device.createPipelineLayout({ bindGroupLayouts: [groupLayout] });
		made.group = device.createBindGroup({ layout: groupLayout, entries: boundBuffers(pools) });
		const compiled = Promise.all(
			KERNELS.map(async (name) => {
				const module = device.createShaderModule({ label: name, code: kernelSource(name) });
				const compute = { module, entryPoint: ENTRY_POINT };
				return await device.createComputePipelineAsync({ label: name, layout, compute });
			}),
		);
		compiled.catch(() => {});
		made.compiled = compiled;
	});
	if (made.group === undefined || made.compiled === undefined) throw asGpuFailure("no kernels");
	const compiled = await gpu.watch(made.compiled);
	KERNELS.forEach((name, index) => byKernel.set(name, at(compiled, index)));
	return { byKernel, bindGroup: made.group };
}

function boundBuffers({ source, target, table, params }: GpuPools): GPUBindGroupEntry[] {
	return [
		{ binding: 0, resource: { buffer: source } },
		{ binding: 1, resource: { buffer: target } },
		{ binding: 2, resource: { buffer: table } },
		{ binding: 3, resource: { buffer: params, size: PARAM_WORDS * 4 } },
	];
}
