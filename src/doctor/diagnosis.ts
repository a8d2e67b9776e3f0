import type { WriteMode } from "../dcp/write-mode.ts";
import type { GpuExamination } from "./examine-gpu.ts";
import type { GpuPackage } from "./gpu-package.ts";
import type { Nvidia } from "./nvidia.ts";
import type { RenderDevice } from "./render-devices.ts";
import type { VulkanDrivers } from "./vulkan.ts";

/** What every conversion needs or uses. */
export interface MachineFacts {
	/** `20.20.2` */
	readonly node: string;
	readonly platform: string;
	readonly arch: string;
	/** `undefined` with another C library, and on other systems than Linux. */
	readonly glibc: string | undefined;
	/** Cores and memory that this process may use. */
	readonly cores: number;
	readonly memoryBytes: number;
	/** Threads of a conversion that is large enough for them, when it does not say how many. */
	readonly threads: number;
	/** Memory of each, bytes. */
	readonly threadMemoryBytes: number;
	/** Which CRC-32 is used. */
	readonly checksums: "native" | "zlib";
	readonly directory: DirectoryFacts;
	readonly hub: HubFacts;
}

/** The directory for which was asked. */
export interface DirectoryFacts {
	/** Absolute. */
	readonly path: string;
	/** Whether this user may write there; `undefined` when there is no such directory. */
	readonly isWritable: boolean | undefined;
	/** How data files would be written there; `undefined` when there is no such directory. */
	readonly writeMode: WriteMode | undefined;
	/** Space that this user may fill, bytes. */
	readonly freeBytes: number | undefined;
}

/** What the environment says of the Hub. */
export interface HubFacts {
	/** Whether there is a token. It is not told. */
	readonly hasToken: boolean;
	readonly endpoint: string | undefined;
	readonly offline: boolean;
	/** Why the environment cannot be used: then no conversion can run. */
	readonly problem: string | undefined;
}

/** What was found of a GPU, from what is installed to what it computes. */
export interface GpuDiagnosis {
	/** Whether `--device webgpu` works. */
	readonly usable: boolean;
	/** Why not; `undefined` when it does. */
	readonly problem: string | undefined;
	/** `undefined` when it is not installed. */
	readonly package: GpuPackage | undefined;
	/** Path of Vulkan's loader; Linux only. */
	readonly loader: string | undefined;
	/** Linux only. */
	readonly vulkan: VulkanDrivers | undefined;
	/** What keeps the library of a driver from being loaded, by its path. Only where no GPU was found. */
	readonly unloadable: { readonly [library: string]: string };
	/** GPUs that Linux offers, NVIDIA's own device files apart. */
	readonly renderDevices: readonly RenderDevice[];
	/** `undefined` where nothing is from NVIDIA. */
	readonly nvidia: Nvidia | undefined;
	/** `undefined` when there is no package to look with. */
	readonly examination: GpuExamination | undefined;
}

/** A machine, as conversions find it. */
export interface Diagnosis {
	/** Of this program. */
	readonly version: string;
	/** Whether conversions can run. A GPU is not needed. */
	readonly ready: boolean;
	readonly machine: MachineFacts;
	/** `undefined` when it was not looked at. */
	readonly gpu: GpuDiagnosis | undefined;
}
