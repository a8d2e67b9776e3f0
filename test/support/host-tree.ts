import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createHost, type Host } from "../../src/doctor/host.ts";

/** A Linux machine on x64 whose files are `files`, path → text, below `root`. */
export function hostOf(
	root: string,
	files: { readonly [path: string]: string },
	env: Host["env"] = {},
): Host {
	for (const [path, text] of Object.entries(files)) {
		mkdirSync(join(root, dirname(path)), { recursive: true });
		writeFileSync(join(root, path), text);
	}
	return createHost({ root, env, platform: "linux", arch: "x64" });
}

/** Text of an ICD file that names `library`. */
export function icdOf(library: string): string {
	return JSON.stringify({
		file_format_version: "1.0.0",
		ICD: { library_path: library, api_version: "1.3.0" },
	});
}
