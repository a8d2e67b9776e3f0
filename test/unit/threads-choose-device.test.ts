import { describe, expect, test } from "vitest";
import type { GpuFacts } from "../../src/core/device.ts";
import { HfStreamDcpError } from "../../src/core/errors.ts";
import { chooseDevice, type DeviceDemand } from "../../src/threads/choose-device.ts";
import { decideDevice, type DeviceTools, requireGpu } from "../../src/threads/decide-device.ts";

const GIB = 1024 ** 3;
const NONE = { fp8: 0, fp4: 0, fp4Transposed: 0, cast: 0, transpose: 0 };
const REAL: GpuFacts = { adapter: "NVIDIA H200", isSoftware: false, selfTest: undefined };
const SOFTWARE: GpuFacts = { ...REAL, adapter: "SwiftShader", isSoftware: true };

/** Bytes per second of a thread: about those of one core of a server of 2023. */
const RATES = { fp8: 0.9e9, fp4: 0.3e9, fp4Transposed: 0.15e9, cast: 2.5e9, transpose: 0.3e9 };

/** A model of 40 GB of FP8, on a machine with a real GPU. */
const DEMAND: DeviceDemand = {
	asked: "auto",
	heavy: { ...NONE, fp8: 40e9 },
	threads: 1,
	sharers: 1,
	isInstalled: true,
	gpu: REAL,
	rates: RATES,
};

describe("chooseDevice", () => {
	// The GPU is taken to need 1 s, and 1 s for 4 GB; it is chosen where the CPU needs more than 1.5 times as long.
	test.each<[string, Partial<DeviceDemand>, "cpu" | "webgpu", string]>([
		["CPU 44 s, GPU 11 s", {}, "webgpu", "pays"],
		["two threads: 22 s", { threads: 2 }, "webgpu", "pays"],
		["three threads: 14.8 s", { threads: 3 }, "cpu", "slower"],
		[
			"MXFP4: 16 threads need 8.3 s",
			{ threads: 16, heavy: { ...NONE, fp4: 40e9 } },
			"cpu",
			"slower",
		],
		["MXFP4: 4 threads need 33 s", { threads: 4, heavy: { ...NONE, fp4: 40e9 } }, "webgpu", "pays"],
		[
			"transposes: 4 threads need 33 s",
			{ threads: 4, heavy: { ...NONE, transpose: 40e9 } },
			"webgpu",
			"pays",
		],
		["casts: one thread needs 16 s", { heavy: { ...NONE, cast: 40e9 } }, "cpu", "slower"],
		["kinds add up", { heavy: { ...NONE, cast: 40e9, fp8: 40e9 } }, "webgpu", "pays"],
		["four workers that share the GPU: it needs 41 s", { sharers: 4 }, "cpu", "slower"],
		["nothing heavy", { heavy: NONE }, "cpu", "little"],
		["a byte less than 2 GiB", { heavy: { ...NONE, fp4: 2 * GIB - 1 } }, "cpu", "little"],
		["2 GiB", { heavy: { ...NONE, fp4: 2 * GIB } }, "webgpu", "pays"],
		[
			"a small model is no reason to install anything",
			{ heavy: NONE, isInstalled: false },
			"cpu",
			"little",
		],
		["no package", { isInstalled: false, gpu: undefined }, "cpu", "package"],
		["no driver", { gpu: { unavailable: "no Vulkan" } }, "cpu", "adapter"],
		["software", { gpu: SOFTWARE }, "cpu", "software"],
		["self-test", { gpu: { ...REAL, selfTest: "move8" } }, "cpu", "self-test"],
		["nobody looked", { gpu: undefined, rates: undefined }, "cpu", "open"],
		["nobody measured", { rates: undefined }, "cpu", "open"],
		["the CPU is asked for", { asked: "cpu" }, "cpu", "asked"],
		[
			"software that is asked for",
			{ asked: "webgpu", gpu: SOFTWARE, heavy: NONE },
			"webgpu",
			"asked",
		],
	])("%s", (_, changes, chosen, reason) => {
		expect(chooseDevice({ ...DEMAND, ...changes })).toMatchObject({ chosen, reason });
	});

	test("says what it compared", () => {
		const choice = chooseDevice(DEMAND);
		expect(choice).toMatchObject({ heavyBytes: 40e9, adapter: "NVIDIA H200", gpuSeconds: 11 });
		expect(choice.cpuSeconds).toBeCloseTo(44.4, 1);
	});
});

/** A machine that counts how often it is looked at. */
function machine(changes: Partial<DeviceTools> = {}): DeviceTools & { readonly calls: string[] } {
	const calls: string[] = [];
	const told = <T>(name: string, value: T): T => {
		calls.push(name);
		return value;
	};
	return {
		calls,
		isInstalled: () => told("isInstalled", true),
		probe: () => told("probe", Promise.resolve(REAL)),
		measure: () => told("measure", Promise.resolve(RATES)),
		...changes,
	};
}

const unavailable = (): Promise<never> =>
	Promise.reject(new HfStreamDcpError("DEVICE_UNAVAILABLE", "no Vulkan"));

describe("decideDevice looks at the machine only where that can change anything", () => {
	const { asked, heavy, threads, sharers } = DEMAND;
	const demand = { asked, heavy, threads, sharers };
	const look = { mayLook: true };

	test.each<[string, Parameters<typeof decideDevice>[0], string[], string]>([
		["enough work", demand, ["isInstalled", "probe", "measure"], "pays"],
		["little work", { ...demand, heavy: NONE }, ["isInstalled"], "little"],
		["the CPU", { ...demand, asked: "cpu" }, [], "asked"],
		["the GPU, which was found before", { ...demand, asked: "webgpu", gpu: REAL }, [], "asked"],
	])("%s", async (_, given, calls, reason) => {
		const tools = machine();
		expect((await decideDevice(given, look, tools)).reason).toBe(reason);
		expect(tools.calls).toEqual(calls);
	});

	test("without the package it opens nothing", async () => {
		const tools = machine({ isInstalled: () => false });
		expect((await decideDevice(demand, look, tools)).reason).toBe("package");
		expect(tools.calls).toEqual([]);
	});

	test("software is not measured against", async () => {
		const tools = machine({ probe: () => Promise.resolve(SOFTWARE) });
		expect((await decideDevice(demand, look, tools)).reason).toBe("software");
		expect(tools.calls).not.toContain("measure");
	});

	test("plan opens no device", async () => {
		const tools = machine();
		expect((await decideDevice(demand, { mayLook: false }, tools)).reason).toBe("open");
		expect(tools.calls).toEqual(["isInstalled"]);
	});

	test("a GPU that is not there is no failure; anything else is", async () => {
		const choice = await decideDevice(demand, look, machine({ probe: unavailable }));
		expect(choice).toMatchObject({ chosen: "cpu", reason: "adapter", detail: "no Vulkan" });
		const broken = machine({ probe: () => Promise.reject(new Error("a bug")) });
		await expect(decideDevice(demand, look, broken)).rejects.toThrow("a bug");
	});
});

describe("requireGpu", () => {
	test("gives the GPU, one in software, too", async () => {
		const tools = machine({ probe: () => Promise.resolve(SOFTWARE) });
		expect(await requireGpu(undefined, tools)).toBe(SOFTWARE);
	});

	test.each<[string, Partial<DeviceTools>, string]>([
		["no package", { isInstalled: () => false }, "the package webgpu is not installed"],
		["no adapter", { probe: unavailable }, "no Vulkan"],
		[
			"a failed self-test",
			{ probe: () => Promise.resolve({ ...REAL, selfTest: "move8 is wrong" }) },
			"NVIDIA H200 fails the self-test: move8 is wrong",
		],
	])("%s is an error", async (_, changes, message) => {
		await expect(requireGpu(undefined, machine(changes))).rejects.toMatchObject({
			code: "DEVICE_UNAVAILABLE",
			message,
		});
	});
});
