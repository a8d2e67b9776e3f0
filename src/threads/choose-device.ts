import type { DeviceOption, GpuFacts } from "../core/device.ts";
import type { HeavyBytes, HeavyKind } from "../plan/heavy-bytes.ts";
import type { CpuRates } from "../stream/cpu/measure-rates.ts";

/**
 * Why a device was chosen: `asked` for; the CPU, because there is too `little` work that a GPU does faster, the `package` or the
 * `adapter` is missing, the adapter is `software`, failed the `self-test`, or would be `slower`; the GPU, because it `pays`. `open`:
 * that is known when the device was looked at.
 */
export type DeviceReason =
	| "asked"
	| "little"
	| "package"
	| "adapter"
	| "software"
	| "self-test"
	| "slower"
	| "pays"
	| "open";

/** A device and why. */
export interface DeviceChoice {
	readonly asked: DeviceOption;
	readonly chosen: "cpu" | "webgpu";
	readonly reason: DeviceReason;
	/** Source bytes of work that a GPU does faster, of this worker. */
	readonly heavyBytes: number;
	/** The GPU, where one was looked for and found. */
	readonly adapter?: string | undefined;
	/** What the driver said, or the self-test. */
	readonly detail?: string | undefined;
	/** With a GPU, memory that each thread takes beyond its budget, bytes: of the machine, and of the GPU. */
	readonly buffers?: { readonly host: number; readonly device: number } | undefined;
	/** Estimates for the heavy work: of all threads of the worker, and of the GPU. */
	readonly cpuSeconds?: number | undefined;
	readonly gpuSeconds?: number | undefined;
}

/** What the choice depends on. */
export interface DeviceDemand {
	readonly asked: DeviceOption;
	readonly heavy: HeavyBytes;
	/** Of the worker. */
	readonly threads: number;
	/** Workers that would share the GPU, this one included. */
	readonly sharers: number;
	/** Whether the package `webgpu` is there. */
	readonly isInstalled: boolean;
	/** The GPU, or why there is none; `undefined` when nobody has looked. */
	readonly gpu?: GpuFacts | { readonly unavailable: string } | undefined;
	/** Of one thread; `undefined` when nobody has measured. */
	readonly rates?: CpuRates | undefined;
}

/** With less heavy work the start of a GPU does not pay on any machine. */
export const MIN_HEAVY_BYTES: number = 2 * 1024 ** 3;

/** A model of a GPU until one was measured: its start, what it reads in a second, and by how much it must be faster to be worth it. */
const GPU_START_SECONDS = 1;
const GPU_BYTES_PER_SECOND = 4e9;
const MIN_GAIN = 1.5;

/** Chooses the device. Pure; the same for the same facts. */
export function chooseDevice(demand: DeviceDemand): DeviceChoice {
	const { asked, heavy, gpu } = demand;
	const heavyBytes = Object.values(heavy).reduce((sum, bytes) => sum + bytes, 0);
	const base = { asked, heavyBytes };
	const cpu = (reason: DeviceReason, more: Partial<DeviceChoice> = {}): DeviceChoice => ({
		...base,
		chosen: "cpu",
		reason,
		...more,
	});
	if (asked === "cpu") return cpu("asked");
	if (asked === "webgpu") {
		const adapter = gpu !== undefined && "adapter" in gpu ? gpu.adapter : undefined;
		return { ...base, chosen: "webgpu", reason: "asked", adapter };
	}
	if (heavyBytes < MIN_HEAVY_BYTES) return cpu("little");
	if (!demand.isInstalled) return cpu("package");
	if (gpu === undefined) return cpu("open");
	if ("unavailable" in gpu) return cpu("adapter", { detail: gpu.unavailable });
	const { adapter } = gpu;
	if (gpu.isSoftware) return cpu("software", { adapter });
	if (gpu.selfTest !== undefined) return cpu("self-test", { adapter, detail: gpu.selfTest });
	if (demand.rates === undefined) return cpu("open", { adapter });
	const cpuSeconds = secondsOf(heavy, demand.rates) / demand.threads;
	const gpuSeconds = GPU_START_SECONDS + (heavyBytes * demand.sharers) / GPU_BYTES_PER_SECOND;
	const estimates = { adapter, cpuSeconds, gpuSeconds };
	if (cpuSeconds <= MIN_GAIN * gpuSeconds) return cpu("slower", estimates);
	return { ...base, chosen: "webgpu", reason: "pays", ...estimates };
}

function secondsOf(heavy: HeavyBytes, rates: CpuRates): number {
	return (Object.keys(heavy) as HeavyKind[]).reduce(
		(seconds, kind) => seconds + heavy[kind] / rates[kind],
		0,
	);
}
