import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The version in package.json, which lies one folder above `src/` and two above `dist/src/`. */
export const VERSION: string = readVersion();

function readVersion(): string {
	for (const path of ["../package.json", "../../package.json"]) {
		try {
			const text = readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8");
			const { name, version } = JSON.parse(text) as { name?: string; version?: string };
			if (name === "hf-stream-dcp" && version !== undefined) return version;
		} catch {
			// The other place, then.
		}
	}
	return "unknown";
}
