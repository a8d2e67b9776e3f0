import type { GpuFacts } from "../core/device.ts";
import type { ConversionOptions } from "../options.ts";
import { heavyBytesOf, type HeavyKind } from "../plan/heavy-bytes.ts";
import type { Plan } from "../plan/types.ts";
import type { DeviceChoice } from "../threads/choose-device.ts";
import { poolBytes } from "../stream/webgpu/pools.ts";
import { gpuSizesOf } from "../threads/gpu-sizes.ts";
import { decideDevice, requireGpu } from "../threads/decide-device.ts";
import { chooseThreads } from "../threads/choose-threads.ts";
import type { planThreads } from "../threads/plan-threads.ts";

/**
 * Looks for the GPU when one is asked for, before anything else is done.
 *
 * @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` @throws `signal.reason`
 */
export async function gpuAskedFor({
	device,
	signal,
}: ConversionOptions): Promise<GpuFacts | undefined> {
	return device === "webgpu" ? await requireGpu(signal) : undefined;
}

/** What the choice of a worker depends on besides. */
export interface DeviceQuestion {
	/** The one that was asked for. */
	readonly gpu: GpuFacts | undefined;
	/** Whether a device may be opened to decide. */
	readonly mayLook: boolean;
	/** How many share the plan, each about as much as the others. */
	readonly workers: number;
}

/**
 * Decides what a worker reshards with.
 *
 * @throws `signal.reason`
 */
export async function chooseDeviceFor(
	{ device, localWorkers, signal }: ConversionOptions,
	plan: Plan,
	demand: Parameters<typeof planThreads>[1],
	{ gpu, mayLook, workers }: DeviceQuestion,
): Promise<DeviceChoice> {
	const whole = heavyBytesOf(plan);
	const heavy = { ...whole };
	for (const kind of Object.keys(whole) as HeavyKind[]) {
		heavy[kind] = Math.round(whole[kind] / workers);
	}
	const { fetchBytes } = plan.totals;
	const { budgetBytes } = plan.limits;
	const share = { ...demand, fetchBytes: fetchBytes / workers, budgetBytes };
	const { count: threads } = chooseThreads(share);
	const sharers = localWorkers;
	const asked = device;
	const choice = await decideDevice({ asked, heavy, threads, sharers, gpu }, { mayLook, signal });
	return choice.chosen === "cpu" ? choice : { ...choice, buffers: poolBytes(gpuSizesOf(plan)) };
}
