import { existsSync } from "node:fs";
import { join } from "node:path";

/** Releases of torchtitan that `.ci/run` installs: the newest, and the last with llama4. */
export type TitanRelease = "0.3" | "0.2";

/** Folders to put on Python's path, or why there are none. */
export type TitanSearch =
	| { readonly path: (release: TitanRelease) => string }
	| { readonly skip: string };

/**
 * Looks for torchtitan's own code in the folder that `HF_STREAM_DCP_TORCHTITAN` names: one folder for each release, filled by
 * `scripts/torchtitan-RELEASE-requirements.txt`.
 *
 * @throws {Error} in CI (`CI` set) instead of returning a reason to skip: there a missing tool is a failure.
 */
export function findTorchtitan(): TitanSearch {
	const folder = process.env["HF_STREAM_DCP_TORCHTITAN"] ?? "";
	const path = (release: TitanRelease) => join(folder, release);
	const found = (["0.3", "0.2"] as const).every((release) =>
		existsSync(join(path(release), "torchtitan")),
	);
	if (folder !== "" && found) return { path };
	const skip =
		"needs torchtitan; point HF_STREAM_DCP_TORCHTITAN at a folder that has its releases as .ci/run installs them";
	if (process.env["CI"] !== undefined) throw new Error(skip);
	return { skip };
}
