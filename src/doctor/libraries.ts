import { dirname, join } from "node:path";
import { type Host, variableOf } from "./host.ts";

/** How glibc's triplets, which name folders, call `process.arch`. */
const TRIPLETS: { readonly [arch: string]: string } = {
	x64: "x86_64-linux-gnu",
	arm64: "aarch64-linux-gnu",
};

/** Deepest nesting of `include` lines that is followed. */
const MAX_INCLUDES = 4;

/**
 * Folders in which the dynamic linker looks for a library, first to last: `LD_LIBRARY_PATH`, those of `/etc/ld.so.conf`, and the
 * standard ones. Folders that are not there are left out.
 *
 * @see ld.so(8)
 */
export function libraryFolders(host: Host): readonly string[] {
	const named = (variableOf(host, "LD_LIBRARY_PATH") ?? "").split(/[:;]/).filter(Boolean);
	const triplet = TRIPLETS[host.arch];
	const standard = ["/lib", "/usr/lib"].flatMap((folder) => [
		...(triplet === undefined ? [] : [`${folder}/${triplet}`]),
		`${folder}64`,
		folder,
	]);
	const all = [...named, ...configuredFolders(host, "/etc/ld.so.conf", 0), ...standard];
	return [...new Set(all)].filter((folder) => host.isDirectory(folder));
}

function configuredFolders(host: Host, file: string, depth: number): string[] {
	if (depth > MAX_INCLUDES) return [];
	const lines = (host.readText(file) ?? "").split("\n");
	return lines.flatMap((text) => {
		const line = text.replace(/#.*/, "").trim();
		const pattern = /^include\s+(.+)$/.exec(line)?.[1];
		if (pattern === undefined) return line.startsWith("/") ? [line] : [];
		// The patterns that distributions use: every .conf file of one folder.
		const folder = join(dirname(file), dirname(pattern));
		const included = pattern.startsWith("/") ? dirname(pattern) : folder;
		const files = host.list(included).filter((name) => name.endsWith(".conf"));
		return files.flatMap((name) => configuredFolders(host, join(included, name), depth + 1));
	});
}

/** Path of the library `name`: the first of `folders` that has it. */
export function findLibrary(
	host: Host,
	name: string,
	folders: readonly string[],
): string | undefined {
	return folders.map((folder) => join(folder, name)).find((path) => host.has(path));
}
