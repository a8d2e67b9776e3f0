import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The file that names the Vulkan driver which the tests use, or why there is no GPU to test with. */
export type GpuSearch = { readonly icd: string } | { readonly skip: string };

/** Where browsers keep the description of SwiftShader, a Vulkan driver that runs on the CPU. Debian: `chromium-common`. */
const SWIFTSHADER: readonly string[] = [
	"/usr/lib/chromium/vk_swiftshader_icd.json",
	"/usr/lib64/chromium-browser/vk_swiftshader_icd.json",
	"/usr/lib/chromium-browser/vk_swiftshader_icd.json",
	"/opt/google/chrome/vk_swiftshader_icd.json",
];

/** Run in a process of its own: what goes wrong in a driver ends the process. */
const PROBE = `
	const { create } = await import("webgpu");
	const gpu = create([]);
	const adapter = await gpu.requestAdapter();
	if (adapter === null) throw new Error("no adapter");
	console.log(adapter.info.description, gpu);
`;

/**
 * Looks for a GPU for tests, which is one in software unless `VK_DRIVER_FILES` or `VK_ICD_FILENAMES` names another driver, and sets
 * both variables for this process and for those it starts. Threads have copies of the environment: call it before they begin.
 *
 * @throws {Error} in CI (`CI` set) instead of returning a reason to skip: there a missing GPU in software is a failure.
 */
export function findSoftwareGpu(): GpuSearch {
	const named = process.env["VK_DRIVER_FILES"] ?? process.env["VK_ICD_FILENAMES"];
	const icd = named ?? SWIFTSHADER.find((path) => existsSync(path));
	if (icd === undefined) {
		return skipped("needs SwiftShader; Debian: apt install chromium-common libvulkan1");
	}
	process.env["VK_DRIVER_FILES"] = icd;
	process.env["VK_ICD_FILENAMES"] = icd;
	const { status, signal, stderr } = spawnSync(
		process.execPath,
		["--input-type=module", "--eval", PROBE],
		{
			cwd: fileURLToPath(new URL("../..", import.meta.url)),
			encoding: "utf8",
			timeout: 60_000,
		},
	);
	if (status === 0) return { icd };
	const told = /^(?:\w*Error.*: |Warning: ).*$/m.exec(stderr)?.[0];
	return skipped(
		`needs a GPU in software, but ${icd} gives none (${told ?? signal ?? `exit code ${status}`})`,
	);
}

function skipped(skip: string): GpuSearch {
	if (process.env["CI"] !== undefined) throw new Error(skip);
	return { skip };
}
