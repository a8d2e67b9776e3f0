import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const REPOSITORY: string = join(import.meta.dirname, "../..");

/** What the copy does differently, by file of `dist/src`: the text that is replaced, which must be there once. */
const CHANGES: { readonly [file: string]: readonly (readonly [from: string, to: string])[] } = {
	"stream/flusher.js": [
		["const FLUSH_MS = 5_000;", "const FLUSH_MS = 20;"],
		["const MAX_FLUSH_SHARE = 1 / 20;", "const MAX_FLUSH_SHARE = 1;"],
	],
	"fetch/timeouts.js": [
		["connectMs: 10_000,", "connectMs: 1_000,"],
		["retries: 8,", "retries: 3,"],
		["backoffMs: 500,", "backoffMs: 50,"],
	],
};

/**
 * Copies the built program into `directory` and makes it record finished entries every 20 ms instead of every five seconds, so that
 * a conversion of less than a second has something to lose and something to keep; and give up on a Hub that is gone within seconds.
 *
 * @returns Path of its executable.
 */
export function copyQuickProgram(directory: string): string {
	cpSync(join(REPOSITORY, "dist"), join(directory, "dist"), { recursive: true });
	cpSync(join(REPOSITORY, "package.json"), join(directory, "package.json"));
	symlinkSync(join(REPOSITORY, "node_modules"), join(directory, "node_modules"));
	for (const [file, changes] of Object.entries(CHANGES)) {
		const path = join(directory, "dist/src", file);
		let text = readFileSync(path, "utf8");
		for (const [from, to] of changes) {
			if (text.split(from).length !== 2) throw new Error(`${path} has no ${from}`);
			text = text.replace(from, to);
		}
		writeFileSync(path, text);
	}
	return join(directory, "dist/bin/hf-stream-dcp.js");
}
