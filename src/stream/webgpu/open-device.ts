/// <reference types="@webgpu/types" />
import { HfStreamDcpError } from "../../core/errors.ts";
import { createGpu, type Gpu, type GpuInfo } from "./gpu.ts";

/** Options of {@link openGpu}. */
export interface OpenGpuOptions {
	/** A part of the name of the device to use, as drivers call it. @default the fastest, to the driver's mind */
	readonly adapter?: string | undefined;
	/** After so many milliseconds without an answer the device counts as hung. @default 60000 */
	readonly timeoutMs?: number | undefined;
}

/** What went wrong, for those who want to help: `doctor` and the messages. In the facts of the error. */
export type OpenGpuStep = "package" | "adapter" | "device";

const DEFAULT_TIMEOUT_MS = 60_000;

/** Limits that are asked for as high as they go; of the others the defaults are plenty. */
const WANTED_LIMITS = [
	"maxBufferSize",
	"maxStorageBufferBindingSize",
	"maxComputeWorkgroupsPerDimension",
] as const;

/** The drivers that are this processor, by what they say of themselves. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software/i;

/**
 * The package's instances of WebGPU, by their flags. Kept for as long as the process lives: when one is collected while a device of
 * it is there, the process ends with a segmentation fault.
 */
const instances = new Map<string, GPU>();

/**
 * Opens a GPU, or a driver that plays one.
 *
 * Native code begins to run here. It can end the process: call it only in one that may die.
 *
 * @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE`; `facts.step` is an {@link OpenGpuStep}.
 */
export async function openGpu(options: OpenGpuOptions = {}): Promise<Gpu> {
	const flags = options.adapter === undefined ? [] : [`adapter=${options.adapter}`];
	const instance = await loadInstance(flags);
	const adapter = await requestAdapter(instance, options.adapter);
	const info = infoOf(adapter.info, adapter.info.isFallbackAdapter);
	const { device, limits } = await requestDevice(adapter);
	return createGpu({
		device,
		info,
		limits,
		name: nameOf(info),
		timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
	});
}

async function loadInstance(flags: string[]): Promise<GPU> {
	const key = flags.join("\n");
	const known = instances.get(key);
	if (known !== undefined) return known;
	try {
		const { create } = await import("webgpu");
		const instance = create(flags);
		instances.set(key, instance);
		return instance;
	} catch (cause) {
		const isMissing = codeOf(cause) === "ERR_MODULE_NOT_FOUND";
		throw unavailable("package", {
			message: isMissing
				? "the package webgpu is not installed"
				: `the package webgpu cannot be loaded: ${messageOf(cause)}`,
			hint: isMissing
				? "Install it beside this one: npm install webgpu"
				: "It needs glibc 2.34 and libstdc++ of GCC 12; hf-stream-dcp doctor tells more.",
			cause,
		});
	}
}

async function requestAdapter(instance: GPU, name: string | undefined): Promise<GPUAdapter> {
	let adapter: GPUAdapter | null = null;
	try {
		adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
	} catch (cause) {
		// With the names of all that there are.
		throw unavailable("adapter", {
			message: `no GPU ${name === undefined ? "can be used" : `is called ${name}`}: ${messageOf(cause)}`,
			hint: "Run hf-stream-dcp doctor.",
			cause,
		});
	}
	if (adapter === null) {
		throw unavailable("adapter", {
			message: "no Vulkan driver offers a GPU",
			hint: "Run hf-stream-dcp doctor: it says which library or driver is missing.",
		});
	}
	// It accepts everything and computes nothing.
	if (/null/i.test(`${adapter.info.device} ${adapter.info.description}`)) {
		throw unavailable("adapter", {
			message: "WebGPU has only its null back end, which computes nothing",
			hint: "Unset DAWNNODE_BACKEND.",
		});
	}
	return adapter;
}

async function requestDevice(
	adapter: GPUAdapter,
): Promise<{ device: GPUDevice; limits: Record<string, number> }> {
	const limits: Record<string, number> = {};
	for (const limit of WANTED_LIMITS) limits[limit] = adapter.limits[limit];
	try {
		// An adapter gives one device only.
		return { device: await adapter.requestDevice({ requiredLimits: limits }), limits };
	} catch (cause) {
		throw unavailable("device", {
			message: `the GPU cannot be opened: ${messageOf(cause)}`,
			hint: "Is all of its memory in use? Or use --device cpu.",
			cause,
		});
	}
}

function infoOf(info: GPUAdapterInfo, isFallback: boolean): GpuInfo {
	const { vendor, architecture, device, description } = info;
	const words = `${vendor} ${architecture} ${device} ${description}`;
	const isSoftware = isFallback || SOFTWARE.test(words);
	return { vendor, architecture, device, description, isSoftware };
}

/** `device` is a name in small letters and dashes, `description` says which driver it is. */
function nameOf({ vendor, architecture, device, description }: GpuInfo): string {
	const name = [device.replace(/-+$/, ""), `${vendor} ${architecture}`.trim(), "unnamed GPU"];
	const known = name.find((part) => part !== "") ?? "";
	return description === "" ? known : `${known}, ${description}`;
}

function unavailable(
	step: OpenGpuStep,
	{ message, hint, cause }: { message: string; hint: string; cause?: unknown },
): HfStreamDcpError {
	return new HfStreamDcpError("DEVICE_UNAVAILABLE", message, { hint, cause, facts: { step } });
}

function messageOf(error: unknown): string {
	const message = error instanceof Error ? error.message : String(error);
	return message.split("\n", 1)[0] ?? message;
}

function codeOf(error: unknown): unknown {
	return error instanceof Error && "code" in error ? error.code : undefined;
}
