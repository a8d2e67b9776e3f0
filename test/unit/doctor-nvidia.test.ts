import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Host } from "../../src/doctor/host.ts";
import { libraryFolders } from "../../src/doctor/libraries.ts";
import { findNvidia, type Nvidia } from "../../src/doctor/nvidia.ts";
import { findRenderDevices } from "../../src/doctor/render-devices.ts";
import { findDrivers } from "../../src/doctor/vulkan.ts";
import { hostOf, icdOf } from "../support/host-tree.ts";

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), "doctor-nvidia-"))));
afterEach(() => rmSync(root, { recursive: true }));

/** What the kernel shows of two GPUs. */
const KERNEL = {
	"/proc/driver/nvidia/version":
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version:  gcc version 12.3.0\n",
	"/proc/driver/nvidia/gpus/0000:18:00.0/information":
		"Model: \t\t NVIDIA H200\nIRQ:   \t\t 16\nBus Location: \t 0000:18:00.0\n",
	"/proc/driver/nvidia/gpus/0000:2a:00.0/information": "Model: \t\t NVIDIA H200\n",
	"/dev/nvidiactl": "",
	"/dev/nvidia-uvm": "",
	"/dev/nvidia0": "",
	"/dev/nvidia1": "",
};

const LIB = "/usr/lib/x86_64-linux-gnu";

/** All that Vulkan needs of the driver. */
const GRAPHICS = {
	[`${LIB}/libGLX_nvidia.so.0`]: "",
	[`${LIB}/libEGL_nvidia.so.0`]: "",
	[`${LIB}/libnvidia-glvkspirv.so.570.86.15`]: "",
	[`${LIB}/libX11.so.6`]: "",
	[`${LIB}/libXext.so.6`]: "",
	"/etc/vulkan/icd.d/nvidia_icd.json": icdOf("libGLX_nvidia.so.0"),
};

type Files = { readonly [path: string]: string };

function nvidiaOf(files: Files, env: Host["env"] = {}): Nvidia | undefined {
	const host = hostOf(root, files, env);
	const folders = libraryFolders(host);
	return findNvidia(host, folders, findDrivers(host, folders).drivers);
}

function without(files: Files, ...names: readonly string[]): Files {
	return Object.fromEntries(
		Object.entries(files).filter(([path]) => !names.some((name) => path.includes(name))),
	);
}

function problemsOf(files: Files, env: Host["env"] = {}): readonly string[] {
	return nvidiaOf(files, env)?.problems.map(({ missing }) => missing) ?? [];
}

test("nothing of NVIDIA", () => {
	expect(nvidiaOf({ "/dev/null": "", "/dev/nvidiactl": "" }, { PATH: "/usr/bin" })).toBeUndefined();
});

test("all is there", () => {
	const nvidia = nvidiaOf(
		{ ...KERNEL, ...GRAPHICS, "/usr/bin/nvidia-smi": "" },
		{ PATH: "/bin:/usr/bin" },
	);
	expect(nvidia).toEqual({
		driverVersion: "570.86.15",
		models: ["NVIDIA H200", "NVIDIA H200"],
		devices: ["/dev/nvidia0", "/dev/nvidia1"],
		hasSmi: true,
		isContainer: false,
		problems: [],
	});
});

test("the version of the driver that is not open", () => {
	const version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2024\n";
	const nvidia = nvidiaOf({ ...KERNEL, "/proc/driver/nvidia/version": version });
	expect(nvidia?.driverVersion).toBe("550.54.15");
});

describe("a container", () => {
	const container = { ...KERNEL, "/.dockerenv": "" };

	test.each([
		[undefined, "is not set, which means utility,compute"],
		["compute,utility", 'is "compute,utility"'],
	])("without the capability: %s", (capabilities, text) => {
		const env = { NVIDIA_DRIVER_CAPABILITIES: capabilities };
		const [problem, ...more] = nvidiaOf(container, env)?.problems ?? [];
		expect(more).toEqual([]);
		expect(problem?.missing).toBe("NVIDIA_DRIVER_CAPABILITIES=graphics");
		expect(problem?.message).toContain(`NVIDIA_DRIVER_CAPABILITIES ${text}, without graphics`);
		expect(problem?.message).toContain("libGLX_nvidia.so.0 and libEGL_nvidia.so.0");
		expect(problem?.hint).toContain("NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics");
	});

	test.each(["all", "compute, graphics"])("with it (%s), on a host without graphics", (value) => {
		const [problem] = nvidiaOf(container, { NVIDIA_DRIVER_CAPABILITIES: value })?.problems ?? [];
		expect(problem?.missing).toBe("libGLX_nvidia.so.0");
		expect(problem?.hint).toContain("host's driver has no graphics part");
	});

	test("that is known by its variables alone", () => {
		expect(nvidiaOf(KERNEL, { NVIDIA_VISIBLE_DEVICES: "all" })?.isContainer).toBe(true);
	});

	test("without the ICD file, which the driver's libraries do not bring", () => {
		const files = without({ ...container, ...GRAPHICS }, "nvidia_icd.json");
		const [problem] = nvidiaOf(files)?.problems ?? [];
		expect(problem?.missing).toBe("nvidia_icd.json");
		const text = /Write (\{.*\}) to/.exec(problem?.hint ?? "")?.[1] ?? "";
		expect(JSON.parse(text)).toMatchObject({ ICD: { library_path: "libGLX_nvidia.so.0" } });
	});

	test("without X11's libraries, which NVIDIA's library for Vulkan needs", () => {
		const files = without({ ...container, ...GRAPHICS }, "libX11", "libXext");
		expect(problemsOf(files)).toEqual(["libX11.so.6", "libXext.so.6"]);
	});

	test("without the compiler of shaders, or with that of another driver", () => {
		const files = without({ ...container, ...GRAPHICS }, "glvkspirv");
		const missing = ["libnvidia-glvkspirv.so.570.86.15"];
		expect(problemsOf(files)).toEqual(missing);
		expect(problemsOf({ ...files, [`${LIB}/libnvidia-glvkspirv.so.535.104.05`]: "" })).toEqual(
			missing,
		);
	});
});

describe("a machine", () => {
	test("with a driver for computing only", () => {
		const [problem, ...more] = nvidiaOf(KERNEL)?.problems ?? [];
		expect(more).toEqual([]);
		expect(problem?.missing).toBe("libGLX_nvidia.so.0");
		expect(problem?.hint).toContain("nvidia-vulkan-icd");
	});

	test("with a driver and no device file", () => {
		const files = without({ ...KERNEL, ...GRAPHICS }, "/dev/nvidia0", "/dev/nvidia1");
		expect(problemsOf(files)).toEqual(["/dev/nvidia0"]);
	});

	test("whose device files belong to others", () => {
		const host = hostOf(root, { ...KERNEL, ...GRAPHICS });
		const closed = { ...host, isAccessible: (path: string) => path !== "/dev/nvidia1" };
		const folders = libraryFolders(host);
		const nvidia = findNvidia(closed, folders, findDrivers(host, folders).drivers);
		expect(nvidia?.problems.map(({ missing }) => missing)).toEqual(["/dev/nvidia1"]);
	});

	test("with GPUs of others", () => {
		const host = hostOf(root, { "/dev/dri/card0": "", "/dev/dri/renderD128": "" });
		expect(findRenderDevices(host)).toEqual([{ path: "/dev/dri/renderD128", isAccessible: true }]);
	});
});
