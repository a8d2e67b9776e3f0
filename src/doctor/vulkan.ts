import { dirname, join, resolve } from "node:path";
import { type Host, variableOf } from "./host.ts";
import { findLibrary } from "./libraries.ts";

/** A Vulkan driver as an ICD file (installable client driver) describes it. */
export interface VulkanDriver {
	/** Path of the ICD file. */
	readonly file: string;
	/** The library it names. */
	readonly library: string | undefined;
	/** Where that library is; `undefined` when it is nowhere. */
	readonly libraryPath: string | undefined;
	/** What is wrong with the file or its library; `undefined` when nothing is. */
	readonly problem: string | undefined;
}

/** Which Vulkan drivers there are, as Vulkan's loader would find them. */
export interface VulkanDrivers {
	/** The variable that names the drivers instead of the standard folders. */
	readonly variable: "VK_DRIVER_FILES" | "VK_ICD_FILENAMES" | undefined;
	/** Folders and files that were looked into. */
	readonly searched: readonly string[];
	readonly drivers: readonly VulkanDriver[];
}

/** The name under which programs ask the dynamic linker for Vulkan's loader, by platform. */
const LOADER = "libvulkan.so.1";

/**
 * Vulkan's loader: beside the package's own binary, where Dawn looks first, or where the dynamic linker finds it.
 *
 * @param binaryFolder - Folder of the package's binary.
 */
export function findLoader(
	host: Host,
	folders: readonly string[],
	binaryFolder: string | undefined,
): string | undefined {
	const all = binaryFolder === undefined ? folders : [binaryFolder, ...folders];
	return findLibrary(host, LOADER, all);
}

/**
 * Reads every ICD file that Vulkan's loader would read on Linux.
 *
 * @param folders - Where the dynamic linker looks for libraries.
 * @see Vulkan-Loader `docs/LoaderDriverInterface.md`: "Driver Discovery", "Driver Manifest File Format"
 */
export function findDrivers(host: Host, folders: readonly string[]): VulkanDrivers {
	const variable = (["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] as const).find(
		(name) => variableOf(host, name) !== undefined,
	);
	const searched =
		variable === undefined
			? [...paths(host, "VK_ADD_DRIVER_FILES"), ...standardFolders(host)]
			: paths(host, variable);
	const files = searched.flatMap((path) => filesAt(host, path, variable !== undefined));
	const drivers = [...new Set(files)].map((file) => readDriver(host, file, folders));
	return { variable, searched, drivers };
}

function paths(host: Host, variable: string): string[] {
	return (variableOf(host, variable) ?? "").split(":").filter(Boolean);
}

function standardFolders(host: Host): string[] {
	const home = variableOf(host, "HOME");
	const inHome = (folder: string): string[] => (home === undefined ? [] : [join(home, folder)]);
	const configHome = variableOf(host, "XDG_CONFIG_HOME");
	const dataHome = variableOf(host, "XDG_DATA_HOME");
	const bases = [
		...(configHome === undefined ? inHome(".config") : [configHome]),
		...(variableOf(host, "XDG_CONFIG_DIRS") ?? "/etc/xdg").split(":"),
		"/etc",
		...(dataHome === undefined ? inHome(".local/share") : [dataHome]),
		...(variableOf(host, "XDG_DATA_DIRS") ?? "/usr/local/share:/usr/share").split(":"),
	];
	return [...new Set(bases.filter(Boolean))].map((base) => join(base, "vulkan/icd.d"));
}

/** The ICD files of a folder, or the file itself. One that a variable names counts even if it is not there. */
function filesAt(host: Host, path: string, isNamed: boolean): string[] {
	if (host.isDirectory(path)) {
		const names = host.list(path).filter((name) => name.endsWith(".json"));
		return names.map((name) => join(path, name));
	}
	return isNamed || host.has(path) ? [path] : [];
}

function readDriver(host: Host, file: string, folders: readonly string[]): VulkanDriver {
	const without = (problem: string): VulkanDriver => {
		return { file, library: undefined, libraryPath: undefined, problem };
	};
	if (!host.has(file)) return without("there is no such file");
	const text = host.readText(file);
	if (text === undefined) return without("it cannot be read");
	const library = libraryOf(text);
	if (library === undefined) return without("it is not JSON with ICD.library_path");
	const libraryPath = locate(host, file, library, folders);
	const problem = libraryPath === undefined ? `its library ${library} is not there` : undefined;
	return { file, library, libraryPath, problem };
}

function libraryOf(text: string): string | undefined {
	try {
		const manifest = JSON.parse(text) as { readonly ICD?: { readonly library_path?: unknown } };
		const library = manifest.ICD?.library_path;
		return typeof library === "string" && library !== "" ? library : undefined;
	} catch {
		return undefined;
	}
}

/** A bare name is the dynamic linker's to find; a path is seen from the ICD file. */
function locate(
	host: Host,
	file: string,
	library: string,
	folders: readonly string[],
): string | undefined {
	if (!library.includes("/")) return findLibrary(host, library, folders);
	const path = resolve(dirname(file), library);
	return host.has(path) ? path : undefined;
}
