import type { DeviceChoice, DeviceReason, DeviceSummary } from "../index.ts";
import { formatBytes, formatDuration, formatMemory, plural } from "./format.ts";

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
	slower: (choice) => `${estimateOf(choice)}: it would not pay`,
	pays: estimateOf,
	open: ({ heavyBytes }) =>
		`or webgpu, if there is a GPU that pays: ${formatBytes(heavyBytes)} here are quicker on one; --device webgpu looks for it`,
};

/** `NVIDIA H200, estimated at 11 s for 40.0 GB of heavy work, the CPU at 44 s` */
function estimateOf({ adapter, heavyBytes, cpuSeconds = 0, gpuSeconds = 0 }: DeviceChoice): string {
	return `${adapter ?? "the GPU"}, estimated at ${formatDuration(gpuSeconds)} for ${formatBytes(heavyBytes)} of heavy work, the CPU at ${formatDuration(cpuSeconds)}`;
}

/** The device and, of a GPU, the memory that it takes besides, as rows of a table. */
export function deviceRows(choice: DeviceChoice): string[][] {
	const { buffers } = choice;
	const rows = [["device", describeDevice(choice)]];
	if (buffers === undefined) return rows;
	const { host, device } = buffers;
	const memory = `${formatMemory(host)} more memory in each thread, and ${formatMemory(device)} on the GPU`;
	return [...rows, ["", memory]];
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
