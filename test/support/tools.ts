import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Nothing is missing, or what. */
export type ToolSearch = { readonly skip?: string };

/** Daemons of Debian lie where a user's PATH does not look. */
const FOLDERS = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];

/** Path of a program; `undefined` when it is not installed. */
export function findTool(name: string): string | undefined {
	return FOLDERS.map((folder) => join(folder, name)).find((path) => {
		try {
			accessSync(path, constants.X_OK);
			return true;
		} catch {
			return false;
		}
	});
}

/**
 * Whether the programs are installed.
 *
 * @param install - What brings them, for the reason to skip.
 * @throws {Error} in CI (`CI` set) instead of returning a reason to skip: there a missing tool is a failure.
 */
export function findTools(names: readonly string[], install: string): ToolSearch {
	const missing = names.filter((name) => findTool(name) === undefined);
	if (missing.length === 0) return {};
	const skip = `needs ${missing.join(", ")} (${install})`;
	if (process.env["CI"] !== undefined) throw new Error(skip);
	return { skip };
}
