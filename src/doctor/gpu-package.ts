import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Host } from "./host.ts";

/** The optional package through which a GPU is used. */
const GPU_PACKAGE = "webgpu";

/** The optional package as it is installed. */
export interface GpuPackage {
	readonly version: string | undefined;
	/** Path of its binary for this platform, there or not. */
	readonly binary: string;
	/** What is wrong with it here; `undefined` when nothing is known to be. */
	readonly problem: { readonly message: string; readonly hint: string } | undefined;
}

/** Oldest glibc that the binary for Linux runs with (`objdump -T` of 0.6.2). */
const MIN_GLIBC: readonly [major: number, minor: number] = [2, 34];

/**
 * Path of the package's `package.json`, seen from this program; `undefined` when it is not installed.
 */
export function locateGpuPackage(): string | undefined {
	try {
		return createRequire(import.meta.url).resolve(`${GPU_PACKAGE}/package.json`);
	} catch {
		return undefined;
	}
}

/**
 * Looks at the installed package without loading it.
 *
 * @param manifest - Path of its `package.json`.
 * @param glibc - Version of the C library, `2.36`; `undefined` when it is another one, such as musl.
 */
export function readGpuPackage(
	host: Host,
	manifest: string,
	glibc: string | undefined,
): GpuPackage {
	const arch = host.platform === "darwin" ? "universal" : host.arch;
	const binary = join(dirname(manifest), "dist", `${host.platform}-${arch}`, "dawn.node");
	const version = /"version":\s*"([^"]+)"/.exec(host.readText(manifest) ?? "")?.[1];
	return { version, binary, problem: problemOf(host, binary, glibc) };
}

function problemOf(host: Host, binary: string, glibc: string | undefined): GpuPackage["problem"] {
	if (!host.has(binary)) {
		return {
			message: `it has no binary for ${host.platform} ${host.arch}`,
			hint: "It has one for Linux, macOS and Windows on x64 and arm64; here the CPU does the work.",
		};
	}
	if (host.platform !== "linux") return undefined;
	if (glibc === undefined) {
		return {
			message: "its binary needs glibc, and this system has another C library",
			hint: "Use an image with glibc, such as node:22-bookworm instead of node:22-alpine.",
		};
	}
	const [major = 0, minor = 0] = glibc.split(".").map(Number);
	if (major > MIN_GLIBC[0] || (major === MIN_GLIBC[0] && minor >= MIN_GLIBC[1])) return undefined;
	return {
		message: `its binary needs glibc ${MIN_GLIBC.join(".")}, and this system has ${glibc}`,
		hint: "Use Debian 12, Ubuntu 22.04 or newer.",
	};
}

/** Version of glibc that this process runs with; `undefined` with another C library. */
export function glibcVersion(): string | undefined {
	const report = process.report.getReport() as unknown as {
		readonly header: { readonly glibcVersionRuntime?: string };
	};
	return report.header.glibcVersionRuntime;
}
