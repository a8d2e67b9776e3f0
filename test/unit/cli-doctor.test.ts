import { expect, test } from "vitest";
import { hintForLoadError } from "../../src/cli/diagnosis/load-hint.ts";
import { renderDiagnosis } from "../../src/cli/diagnosis/render.ts";
import type { Diagnosis, GpuDiagnosis, MachineFacts } from "../../src/index.ts";
import { parseAdapters } from "../../src/stream/webgpu/list-adapters.ts";

const GIB = 1024 ** 3;

const MACHINE: MachineFacts = {
	node: "20.20.2",
	platform: "linux",
	arch: "x64",
	glibc: "2.36",
	cores: 96,
	memoryBytes: 1024 * GIB,
	threads: 16,
	threadMemoryBytes: 256 * 1024 ** 2,
	checksums: "native",
	directory: { path: "/ckpt", isWritable: true, writeMode: "direct", freeBytes: 3.2e12 },
	hub: {
		hasToken: true,
		endpoint: "https://huggingface.co",
		offline: false,
		problem: undefined,
	},
};

const GPU: GpuDiagnosis = {
	usable: true,
	problem: undefined,
	package: { version: "0.6.2", binary: "/m/dawn.node", problem: undefined },
	loader: "/lib/libvulkan.so.1",
	vulkan: {
		variable: undefined,
		searched: ["/etc/vulkan/icd.d"],
		drivers: [
			{
				file: "/etc/vulkan/icd.d/nvidia_icd.json",
				library: "libGLX_nvidia.so.0",
				libraryPath: "/lib/libGLX_nvidia.so.0",
				problem: undefined,
			},
		],
	},
	unloadable: {},
	renderDevices: [],
	nvidia: {
		driverVersion: "570.86.15",
		models: ["NVIDIA H200", "NVIDIA H200"],
		devices: ["/dev/nvidia0", "/dev/nvidia1"],
		hasSmi: true,
		isContainer: false,
		problems: [],
	},
	examination: {
		adapters: ["NVIDIA H200", "NVIDIA H200"],
		adapter: {
			vendor: "nvidia",
			architecture: "hopper",
			device: "0x2335",
			description: "NVIDIA H200",
			isSoftware: false,
		},
		limits: { maxBufferSize: 4 * GIB, maxComputeWorkgroupsPerDimension: 65535 },
		kernels: [
			{ kernel: "move8", ok: true },
			{ kernel: "cast16", ok: true },
		],
		failure: undefined,
	},
};

function render(
	gpu: Partial<GpuDiagnosis> | undefined,
	machine: Partial<MachineFacts> = {},
): string {
	const diagnosis: Diagnosis = {
		version: "1.2.3",
		ready: true,
		machine: { ...MACHINE, ...machine },
		gpu: gpu === undefined ? undefined : { ...GPU, ...gpu },
	};
	return renderDiagnosis(diagnosis);
}

test("a machine with everything", () => {
	expect(render({})).toMatchInlineSnapshot(`
		"hf-stream-dcp 1.2.3

		This machine
		  ok       Node 20.20.2 on linux x64, glibc 2.36
		  ok       96 cores, 1024.00 GiB of memory: at most 16 threads of 256 MiB, unless --threads says otherwise
		  ok       CRC-32: native (@node-rs/crc32)
		  ok       /ckpt: written past the page cache (O_DIRECT), 3.20 TB free
		  ok       Hub https://huggingface.co: there is a token

		A GPU, which is optional: docs/gpu.md
		  ok       package webgpu 0.6.2
		  ok       Vulkan's loader: /lib/libvulkan.so.1
		  ok       driver /etc/vulkan/icd.d/nvidia_icd.json: /lib/libGLX_nvidia.so.0
		  ok       NVIDIA: 2 × NVIDIA H200, driver 570.86.15
		  note     devices: 2 × NVIDIA H200; one is used
		  ok       device: NVIDIA H200, vendor nvidia, architecture hopper
		  ok       limits: maxBufferSize 4.00 GiB, maxComputeWorkgroupsPerDimension 65535
		  ok       self-test: same bits as the CPU from move8, cast16

		Conversions can run.
		The GPU can be used: --device auto takes it where it is quicker, --device webgpu always."
	`);
});

test("a machine with as little as there can be", () => {
	const text = render(
		{
			usable: false,
			problem: "the optional package webgpu is not installed",
			package: undefined,
			loader: undefined,
			vulkan: { variable: undefined, searched: ["/etc/vulkan/icd.d"], drivers: [] },
			nvidia: undefined,
			examination: undefined,
		},
		{
			cores: 1,
			threads: 1,
			checksums: "zlib",
			directory: {
				path: "/ckpt",
				isWritable: undefined,
				writeMode: undefined,
				freeBytes: undefined,
			},
			hub: { ...MACHINE.hub, hasToken: false },
		},
	);
	expect(text).toMatchInlineSnapshot(`
		"hf-stream-dcp 1.2.3

		This machine
		  ok       Node 20.20.2 on linux x64, glibc 2.36
		  ok       1 core, 1024.00 GiB of memory: at most 1 thread of 256 MiB, unless --threads says otherwise
		  note     CRC-32: Node's zlib; the native package @node-rs/crc32 is two to four times as fast
		           → Install this package again without --omit=optional.
		  note     /ckpt: not there yet, so that nothing is known of its disk
		  note     Hub https://huggingface.co: no token; gated and private models need one, and without one the Hub's limits are lower
		           → Set HF_TOKEN, or run \`hf auth login\`.

		A GPU, which is optional: docs/gpu.md
		  note     the optional package webgpu is not installed
		           → To use a GPU: npm install webgpu@^0.6.2 (133 MB), beside this package; with -g, if this one was installed so.
		  note     Vulkan's loader, libvulkan.so.1, was not found
		           → Debian and Ubuntu: \`apt-get install libvulkan1\`; Red Hat: \`dnf install vulkan-loader\`.
		  note     no Vulkan driver: no ICD file in /etc/vulkan/icd.d
		           → Install the GPU's driver with its graphics part; docs/gpu.md says which package it is.
		  note     no GPU is visible: neither /dev/nvidia0 nor /dev/dri/renderD128

		Conversions can run.
		The CPU does all the work: the optional package webgpu is not installed."
	`);
});

test("a directory that this user may not write to", () => {
	const directory = { ...MACHINE.directory, isWritable: false, writeMode: "buffered" as const };
	expect(render(undefined, { directory })).toContain(
		"  problem  /ckpt: this user may not write there",
	);
});

test("without a look at the GPU nothing is said of it", () => {
	expect(render(undefined)).not.toMatch(/gpu/i);
});

test("what is missing is a problem where there is a GPU, and no problem where it works", () => {
	const problems = [
		{ missing: "libXext.so.6", message: "it needs libXext.so.6", hint: "Install it." },
	];
	const nvidia = { ...GPU.nvidia!, isContainer: true, problems };
	const failure = { step: "adapter" as const, message: "no Vulkan driver offers a GPU" };
	const without = render({
		usable: false,
		problem: failure.message,
		nvidia,
		unloadable: { "/lib/libGLX_nvidia.so.0": "libXext.so.6: cannot open shared object file" },
		examination: {
			...GPU.examination!,
			adapter: undefined,
			limits: undefined,
			kernels: [],
			failure,
		},
	});
	expect(without).toContain("  problem  it needs libXext.so.6\n           → Install it.");
	expect(without).toContain("cannot be loaded: libXext.so.6: cannot open shared object file");
	expect(without).toContain("→ Install the package that has libXext.so.6.");
	expect(without).toContain("  problem  no Vulkan driver offers a GPU");
	expect(without).toContain("2 × NVIDIA H200, driver 570.86.15, seen from a container");
	expect(without).toContain("The CPU does all the work: no Vulkan driver offers a GPU.");
	expect(render({ nvidia })).not.toContain("problem");
});

test("a driver that crashed is a problem even where no GPU is known", () => {
	const text = render({
		usable: false,
		problem: "it crashed",
		vulkan: { ...GPU.vulkan!, drivers: [] },
		nvidia: undefined,
		examination: {
			...GPU.examination!,
			adapter: undefined,
			limits: undefined,
			kernels: [],
			failure: { step: "adapter", message: "it crashed", hint: "Update it.", crashed: true },
		},
	});
	expect(text).toContain("  problem  it crashed\n           → Update it.");
});

test("hints for what the dynamic linker says", () => {
	const old = hintForLoadError(
		"/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /m/dawn.node)",
	);
	expect(old).toContain("needs GLIBC_2.38");
	expect(
		hintForLoadError("libX11.so.6: cannot open shared object file: No such file or directory"),
	).toBe("Install the package that has libX11.so.6.");
	expect(hintForLoadError("invalid ELF header")).toBeUndefined();
});

test("names of devices in the package's list", () => {
	const message =
		"no suitable backends found\nAvailable adapters:\n * backend: 'vulkan', name: 'NVIDIA H200'\n * backend: 'vulkan', name: 'llvmpipe (LLVM 15.0.6, 256 bits)'\n";
	expect(parseAdapters(message)).toEqual(["NVIDIA H200", "llvmpipe (LLVM 15.0.6, 256 bits)"]);
	expect(parseAdapters("no suitable backends found")).toEqual([]);
});
