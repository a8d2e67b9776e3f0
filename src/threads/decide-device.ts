import type { GpuFacts } from "../core/device.ts";
import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import { type CpuRates, measureCpuRates } from "../stream/cpu/measure-rates.ts";
import { isWebgpuInstalled } from "../stream/webgpu/is-installed.ts";
import { chooseDevice, type DeviceChoice, type DeviceDemand } from "./choose-device.ts";
import { probeInChild } from "./probe.ts";

/** How the machine is looked at. */
export interface DeviceTools {
	isInstalled(): boolean;
	/** @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` */
	probe(request: Parameters<typeof probeInChild>[0]): Promise<GpuFacts>;
	measure(): Promise<CpuRates>;
}

const THIS_MACHINE: DeviceTools = {
	isInstalled: isWebgpuInstalled,
	probe: probeInChild,
	measure: () => measureCpuRates(),
};

/**
 * Looks for the GPU that was asked for.
 *
 * @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` when there is none, or a kernel fails the self-test on it. @throws `signal.reason`
 */
export async function requireGpu(
	signal?: AbortSignal,
	tools: DeviceTools = THIS_MACHINE,
): Promise<GpuFacts> {
	if (!tools.isInstalled()) {
		throw new HfStreamDcpError("DEVICE_UNAVAILABLE", "the package webgpu is not installed", {
			hint: "Run `npm install webgpu` beside this program, or leave out --device webgpu.",
		});
	}
	const gpu = await tools.probe({ testsSoftware: true, signal });
	if (gpu.selfTest === undefined) return gpu;
	throw new HfStreamDcpError(
		"DEVICE_UNAVAILABLE",
		`${gpu.adapter} fails the self-test: ${gpu.selfTest}`,
		{
			hint: "Leave out --device webgpu, and report it with what `hf-stream-dcp doctor` prints.",
			facts: { adapter: gpu.adapter },
		},
	);
}

/**
 * Decides for `auto`. A GPU is looked for, and the processor measured, only where that can change anything.
 *
 * @param mayLook - Whether a device may be opened. Otherwise the reason may be `open`.
 * @throws `signal.reason`
 */
export async function decideDevice(
	demand: Omit<DeviceDemand, "isInstalled">,
	{ mayLook, signal }: { readonly mayLook: boolean; readonly signal?: AbortSignal | undefined },
	tools: DeviceTools = THIS_MACHINE,
): Promise<DeviceChoice> {
	const known = { ...demand, isInstalled: demand.asked === "auto" && tools.isInstalled() };
	const choice = chooseDevice(known);
	if (choice.reason !== "open" || !mayLook) return choice;
	const gpu = await tools.probe({ testsSoftware: false, signal }).catch((error: unknown) => {
		if (!isHfStreamDcpError(error, "DEVICE_UNAVAILABLE")) throw error;
		return { unavailable: error.message };
	});
	const found = chooseDevice({ ...known, gpu });
	if (found.reason !== "open") return found;
	return chooseDevice({ ...known, gpu, rates: await tools.measure() });
}
