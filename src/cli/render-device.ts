import type { DeviceChoice, DeviceReason, DeviceSummary } from "../index.ts";
import { formatBytes, formatDuration, plural } from "./format.ts";

const REASONS: { readonly [R in DeviceReason]: (choice: DeviceChoice) => string } = {
	asked: () => "as asked for",
	little: ({ heavyBytes }) =>
		heavyBytes === 0
			? "nothing here is quicker on a GPU"
			: `only ${formatBytes(heavyBytes)} here are quicker on a GPU`,
	package: () => "the package webgpu is not installed",
	adapter: ({ detail = "none was found" }) => `no GPU: ${detail}`,
	software: ({ adapter = "the GPU" }) => `${adapter} is no hardware`,
	"self-test": ({ adapter = "the GPU", detail = "" }) =>
		`${adapter} fails the self-test: ${detail}`,
	slower: (choice) => `${estimateOf(choice)} does not pay`,
	pays: estimateOf,
	open: ({ heavyBytes }) =>
		`or webgpu, if there is a GPU that pays: ${formatBytes(heavyBytes)} here are quicker on one; --device webgpu looks for it`,
};

/** `NVIDIA H200 would take 5 s for 12 GB of heavy work, the CPU 40 s` */
function estimateOf({ adapter, heavyBytes, cpuSeconds = 0, gpuSeconds = 0 }: DeviceChoice): string {
	return `${adapter ?? "the GPU"}, estimated at ${formatDuration(gpuSeconds)} for ${formatBytes(heavyBytes)} of heavy work, the CPU at ${formatDuration(cpuSeconds)}`;
}

/** `cpu (the package webgpu is not installed)` */
export function describeDevice(choice: DeviceChoice): string {
	const { chosen, adapter, reason } = choice;
	const name = reason === "asked" && adapter !== undefined ? `${chosen}: ${adapter}` : chosen;
	return `${name} (${REASONS[reason](choice)})`;
}

/** The same, and what the device did and failed at. */
export function describeDeviceWork(summary: DeviceSummary): string {
	const { chosen, batches, redone, lost } = summary;
	const parts = [describeDevice(summary)];
	if (chosen === "webgpu") parts.push(`; ${plural(batches, "batch", "batches")}`);
	if (redone > 0) parts.push(`, ${plural(redone, "window")} redone by the CPU`);
	if (lost.length > 0) parts.push(`; the CPU went on after: ${lost.join("; ")}`);
	return parts.join("");
}
