import { realpath, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { EventListener } from "../core/events.ts";
import { isCommit } from "./cache-snapshot.ts";
import { listDirectory } from "./directory-files.ts";
import { createDirectorySource } from "./directory-source.ts";
import { expandPath } from "./environment.ts";
import { findWeights } from "./find-weights.ts";
import type { SourceParts } from "./read-source.ts";

/**
 * The directory that `repo` means, absolute; `undefined` when it means a Hub repository.
 *
 * What begins with `.`, `/`, `~` or a drive is a path. Anything else is a path when there is a directory of that name, as
 * in transformers.
 */
export async function findDirectory(repo: string): Promise<string | undefined> {
	const path = expandPath({}, repo);
	if (isPath(repo)) return path;
	const info = await stat(path).catch(() => undefined);
	return info?.isDirectory() === true ? path : undefined;
}

/** Whether `repo` is spelled as a path, so that no Hub repository can be meant. */
export function isPath(repo: string): boolean {
	return /^(?:[./~]|[a-z]:[\\/])/i.test(repo);
}

/** Finds the weights of a directory. */
export async function openDirectory(
	directory: string,
	onEvent: EventListener | undefined,
): Promise<SourceParts> {
	const files = await listDirectory(directory, directory);
	const weights = await findWeights(files);
	const known = new Map(weights.files.map((file) => [file.path, file]));
	return {
		repo: directory,
		commit: await commitOf(directory),
		files,
		weights,
		bytes: createDirectorySource(directory, known, onEvent),
	};
}

/** The commit when the directory is a snapshot in a Hub cache (`models--org--name/snapshots/COMMIT`), else `local`. */
async function commitOf(directory: string): Promise<string> {
	const path = await realpath(directory);
	const isSnapshot =
		isCommit(basename(path)) &&
		basename(dirname(path)) === "snapshots" &&
		basename(dirname(dirname(path))).startsWith("models--");
	return isSnapshot ? basename(path) : "local";
}
