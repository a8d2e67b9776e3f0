import { join } from "node:path";
import { type Host, variableOf } from "./host.ts";
import { findLibrary } from "./libraries.ts";
import type { VulkanDriver } from "./vulkan.ts";

/** What of an NVIDIA driver is visible to this process. */
export interface Nvidia {
	/** `550.54.15`; `undefined` when the kernel module does not tell. */
	readonly driverVersion: string | undefined;
	/** Models of the GPUs: `NVIDIA H100 80GB HBM3`. */
	readonly models: readonly string[];
	/** Device files of GPUs: `/dev/nvidia0`. */
	readonly devices: readonly string[];
	/** Whether `nvidia-smi` is in `PATH`. */
	readonly hasSmi: boolean;
	/** Whether this process is in a container. */
	readonly isContainer: boolean;
	/** What keeps Vulkan from using it, the cause before its consequences. */
	readonly problems: readonly NvidiaProblem[];
}

/** One thing that is missing, and how to get it. */
export interface NvidiaProblem {
	/** What is missing, by its name: `libGLX_nvidia.so.0`. */
	readonly missing: string;
	readonly message: string;
	readonly hint: string;
}

/** The file with which NVIDIA's driver registers itself, for machines where it was left out. */
const ICD_TEXT =
	'{"file_format_version":"1.0.0","ICD":{"library_path":"libGLX_nvidia.so.0","api_version":"1.3.0"}}';

/**
 * Looks for NVIDIA's driver and for what Vulkan needs of it.
 *
 * @param drivers - The Vulkan drivers that were found.
 * @returns `undefined` where nothing is from NVIDIA.
 * @see NVIDIA Container Toolkit, "Driver Capabilities": `graphics` is what Vulkan needs; the default is `utility,compute`
 */
export function findNvidia(
	host: Host,
	folders: readonly string[],
	drivers: readonly VulkanDriver[],
): Nvidia | undefined {
	const version = host.readText("/proc/driver/nvidia/version");
	const devices = host
		.list("/dev")
		.filter((name) => /^nvidia\d+$/.test(name))
		.map((name) => `/dev/${name}`);
	const hasSmi = (variableOf(host, "PATH") ?? "")
		.split(":")
		.some((folder) => folder !== "" && host.has(join(folder, "nvidia-smi")));
	if (version === undefined && devices.length === 0 && !hasSmi) return undefined;
	const driverVersion = /(?:Kernel Module.*?)\s(\d+\.\d+(?:\.\d+)*)/.exec(version ?? "")?.[1];
	const isContainer = isInContainer(host);
	const seen = { driverVersion, devices, isContainer };
	const problems = [
		...deviceProblems(host, devices),
		...libraryProblems(host, folders, seen),
		...registrationProblems(folders, host, drivers),
	];
	return { ...seen, models: modelsOf(host), hasSmi, problems };
}

function isInContainer(host: Host): boolean {
	return (
		["/.dockerenv", "/run/.containerenv", "/.singularity.d"].some((path) => host.has(path)) ||
		["KUBERNETES_SERVICE_HOST", "NVIDIA_VISIBLE_DEVICES", "container"].some(
			(name) => variableOf(host, name) !== undefined,
		)
	);
}

function modelsOf(host: Host): readonly string[] {
	const folder = "/proc/driver/nvidia/gpus";
	return host.list(folder).flatMap((name) => {
		const text = host.readText(join(folder, name, "information")) ?? "";
		return /^Model:\s*(.+?)\s*$/m.exec(text)?.[1] ?? [];
	});
}

function deviceProblems(host: Host, devices: readonly string[]): NvidiaProblem[] {
	if (devices.length === 0) {
		return [
			{
				missing: "/dev/nvidia0",
				message: "there is an NVIDIA driver, but no device file /dev/nvidia0",
				hint: "On the machine itself run `nvidia-smi` once as root, or `nvidia-modprobe`; start a container with `--gpus all`; ask SLURM for a GPU (`--gres=gpu:1`).",
			},
		];
	}
	return ["/dev/nvidiactl", ...devices].flatMap((device) => {
		if (!host.has(device) || host.isAccessible(device)) return [];
		return {
			missing: device,
			message: `${device} may not be opened by this user`,
			hint: "Join the group that owns it (`ls -l /dev/nvidia*`), or ask the scheduler for a GPU.",
		};
	});
}

type Seen = Pick<Nvidia, "driverVersion" | "isContainer">;

function libraryProblems(host: Host, folders: readonly string[], seen: Seen): NvidiaProblem[] {
	const lacks = (name: string): boolean => findLibrary(host, name, folders) === undefined;
	if (lacks("libGLX_nvidia.so.0")) return [withoutGraphics(host, seen, lacks)];
	const problems: NvidiaProblem[] = ["libX11.so.6", "libXext.so.6"]
		.filter(lacks)
		.map((missing) => ({
			missing,
			message: `NVIDIA's libGLX_nvidia.so.0 needs ${missing}, which is not installed`,
			hint: "Debian and Ubuntu: `apt-get install libx11-6 libxext6`; Red Hat: `dnf install libX11 libXext`. No X server is needed. Or name libEGL_nvidia.so.0, which needs neither, in an ICD file of your own.",
		}));
	const compiler = `libnvidia-glvkspirv.so.${seen.driverVersion ?? ""}`;
	if (seen.driverVersion !== undefined && lacks(compiler)) {
		problems.push({
			missing: compiler,
			message: `${compiler}, with which NVIDIA's driver compiles Vulkan's shaders, is not there`,
			hint: seen.isContainer
				? "Start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics and a current NVIDIA Container Toolkit."
				: "Install the whole driver of that version; Ubuntu: `libnvidia-gl-…-server`, Debian: `libnvidia-glvkspirv`.",
		});
	}
	return problems;
}

/** The driver's libraries for Vulkan are not there at all: in a container a capability is missing, elsewhere a package. */
function withoutGraphics(host: Host, seen: Seen, lacks: (name: string) => boolean): NvidiaProblem {
	const names = ["libGLX_nvidia.so.0", "libEGL_nvidia.so.0"].filter(lacks).join(" and ");
	const message = `NVIDIA's driver for Vulkan (${names}) is not there`;
	if (!seen.isContainer) {
		return {
			missing: "libGLX_nvidia.so.0",
			message,
			hint: "Install the graphics part of the driver, in the version of the kernel module; Ubuntu: `libnvidia-gl-…-server`, Debian: `nvidia-vulkan-icd`. No display is needed.",
		};
	}
	const capabilities = variableOf(host, "NVIDIA_DRIVER_CAPABILITIES");
	const named = (capabilities ?? "utility,compute").split(",").map((name) => name.trim());
	if (named.includes("graphics") || named.includes("all")) {
		return {
			missing: "libGLX_nvidia.so.0",
			message: `${message}, although NVIDIA_DRIVER_CAPABILITIES asks for it`,
			hint: "The host's driver has no graphics part: install it there (Ubuntu: `libnvidia-gl-…-server`), and a current NVIDIA Container Toolkit.",
		};
	}
	const value =
		capabilities === undefined
			? "is not set, which means utility,compute"
			: `is ${JSON.stringify(capabilities)}`;
	return {
		missing: "NVIDIA_DRIVER_CAPABILITIES=graphics",
		message: `${message}: NVIDIA_DRIVER_CAPABILITIES ${value}, without graphics`,
		hint: "Start the container with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics`, or set it in the image.",
	};
}

function registrationProblems(
	folders: readonly string[],
	host: Host,
	drivers: readonly VulkanDriver[],
): NvidiaProblem[] {
	const hasLibrary = findLibrary(host, "libGLX_nvidia.so.0", folders) !== undefined;
	const isRegistered = drivers.some(({ library }) => library?.includes("_nvidia.so") === true);
	if (!hasLibrary || isRegistered) return [];
	return [
		{
			missing: "nvidia_icd.json",
			message:
				"NVIDIA's driver is there, but no ICD file (nvidia_icd.json) names it to Vulkan's loader",
			hint: `Write ${ICD_TEXT} to /etc/vulkan/icd.d/nvidia_icd.json, or to a file that VK_DRIVER_FILES names.`,
		},
	];
}
