import { describe, expect, test } from "vitest";
import { describeDevice, describeDeviceWork, deviceRows } from "../../src/cli/render-device.ts";
import type { DeviceChoice } from "../../src/index.ts";

const CPU: DeviceChoice = { asked: "auto", chosen: "cpu", reason: "little", heavyBytes: 0 };
const GPU: DeviceChoice = {
	asked: "auto",
	chosen: "webgpu",
	reason: "pays",
	heavyBytes: 40e9,
	adapter: "NVIDIA H200",
	cpuSeconds: 44,
	gpuSeconds: 11,
};

describe("describeDevice", () => {
	test.each<[DeviceChoice, string]>([
		[CPU, "cpu (nothing here is quicker on a GPU)"],
		[{ ...CPU, heavyBytes: 1e6 }, "cpu (only 1.00 MB here are quicker on a GPU)"],
		[{ ...CPU, reason: "package" }, "cpu (the package webgpu is not installed)"],
		[{ ...CPU, reason: "adapter", detail: "no Vulkan" }, "cpu (no GPU: no Vulkan)"],
		[
			{ ...CPU, reason: "self-test", adapter: "X", detail: "move8" },
			"cpu (X fails the self-test: move8)",
		],
		[
			{ ...GPU, chosen: "cpu", reason: "slower" },
			"cpu (NVIDIA H200, estimated at 11 s for 40.0 GB of heavy work, the CPU at 44 s: it would not pay)",
		],
		[GPU, "webgpu (NVIDIA H200, estimated at 11 s for 40.0 GB of heavy work, the CPU at 44 s)"],
		[{ ...GPU, asked: "webgpu", reason: "asked" }, "webgpu: NVIDIA H200 (as asked for)"],
	])("%#", (choice, text) => {
		expect(describeDevice(choice)).toBe(text);
	});
});

test("plan says what memory a GPU takes besides", () => {
	const choice = { ...GPU, buffers: { host: 13 * 2 ** 20, device: 12 * 2 ** 20 } };
	expect(deviceRows(choice).map(([name]) => name)).toEqual(["device", ""]);
	expect(deviceRows(choice)[1]?.[1]).toBe(
		"13 MiB more memory in each thread, and 12 MiB on the GPU",
	);
	expect(deviceRows(CPU)).toHaveLength(1);
});

test("the summary says what the GPU did, and what became of it", () => {
	const asked = { ...GPU, asked: "webgpu", reason: "asked" } as const;
	const name = "webgpu: NVIDIA H200 (as asked for)";
	const say = (redone: number, lost: string[]): string =>
		describeDeviceWork({ ...asked, batches: 1200, redone, lost });
	expect(say(0, [])).toBe(`${name}; 1,200 batches`);
	expect(say(1, ["out of memory"])).toBe(
		`${name}; 1,200 batches, 1 window redone by the CPU; the CPU went on after: out of memory`,
	);
	expect(describeDeviceWork({ ...CPU, batches: 0, redone: 0, lost: [] })).toBe(describeDevice(CPU));
});
