import { dirname, resolve } from "node:path";
import { DEFAULT_CONNECTIONS, DEFAULT_MEMORY_BYTES, type Environment } from "../options.ts";
import { VERSION } from "../version.ts";
import type { Diagnosis, GpuDiagnosis, MachineFacts } from "./diagnosis.ts";
import { examineGpu, type GpuExamination } from "./examine-gpu.ts";
import { examineMachine } from "./examine-machine.ts";
import { locateGpuPackage, readGpuPackage } from "./gpu-package.ts";
import { createHost } from "./host.ts";
import { libraryFolders } from "./libraries.ts";
import { tryLibrary } from "./load-library.ts";
import { findNvidia } from "./nvidia.ts";
import { findRenderDevices } from "./render-devices.ts";
import { findDrivers, findLoader, type VulkanDrivers } from "./vulkan.ts";

/** What to look at. */
export interface DiagnoseOptions {
	/** Directory in which checkpoints are to be made. @default the working directory */
	readonly directory?: string | undefined;
	/** Whether a GPU is looked for, too. @default true */
	readonly gpu?: boolean | undefined;
	/** Where variables are looked up. @default process.env */
	readonly environment?: Environment | undefined;
	readonly signal?: AbortSignal | undefined;
}

/**
 * Looks at everything on which a conversion on this machine depends, and at what a GPU needs: without network, and without a native
 * call into a driver in this process.
 *
 * @throws `signal.reason` when aborted.
 */
export async function diagnose(options: DiagnoseOptions = {}): Promise<Diagnosis> {
	const { directory = ".", gpu: isGpuWanted = true, environment = process.env, signal } = options;
	const env = { ...environment };
	const machine = await examineMachine(env, resolve(directory), {
		memoryBytes: DEFAULT_MEMORY_BYTES,
		connections: DEFAULT_CONNECTIONS,
	});
	return {
		version: VERSION,
		ready: machine.hub.problem === undefined,
		machine,
		gpu: isGpuWanted ? await diagnoseGpu(env, machine, signal) : undefined,
	};
}

async function diagnoseGpu(
	env: NodeJS.ProcessEnv,
	{ glibc }: MachineFacts,
	signal: AbortSignal | undefined,
): Promise<GpuDiagnosis> {
	const host = createHost({ env });
	const isLinux = host.platform === "linux";
	const manifest = locateGpuPackage();
	const installed = manifest === undefined ? undefined : readGpuPackage(host, manifest, glibc);
	const folders = isLinux ? libraryFolders(host) : [];
	const vulkan = isLinux ? findDrivers(host, folders) : undefined;
	const binaryFolder = installed === undefined ? undefined : dirname(installed.binary);
	const examination = installed === undefined ? undefined : await examineGpu({ env, signal });
	const problem =
		examination === undefined
			? "the optional package webgpu is not installed"
			: examination.failure?.message;
	return {
		usable: problem === undefined,
		problem,
		package: installed,
		loader: isLinux ? findLoader(host, folders, binaryFolder) : undefined,
		vulkan,
		unloadable: await findUnloadable(env, vulkan, examination),
		renderDevices: isLinux ? findRenderDevices(host) : [],
		nvidia: isLinux ? findNvidia(host, folders, vulkan?.drivers ?? []) : undefined,
		examination,
	};
}

/** Why libraries of drivers cannot be loaded, where no device was found. */
async function findUnloadable(
	env: NodeJS.ProcessEnv,
	vulkan: VulkanDrivers | undefined,
	examination: GpuExamination | undefined,
): Promise<GpuDiagnosis["unloadable"]> {
	if (vulkan === undefined || examination?.adapter?.isSoftware === false) return {};
	const unloadable: { [library: string]: string } = {};
	for (const { libraryPath } of vulkan.drivers) {
		if (libraryPath === undefined) continue;
		const message = await tryLibrary(libraryPath, env);
		if (message !== undefined) unloadable[libraryPath] = message;
	}
	return unloadable;
}
