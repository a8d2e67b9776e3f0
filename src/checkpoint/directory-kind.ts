import { readdir } from "node:fs/promises";
import { STATE_NAME } from "../core/checkpoint.ts";

/**
 * What a path is taken for. `checkpoint`: holds `.metadata`, or `__{rank}.metadata` as torch writes without collectives. `unfinished`: data
 * files or the state of a job and no metadata, as an interrupted conversion leaves them. `other`: anything else, also what does not exist.
 */
export type DirectoryKind = "checkpoint" | "unfinished" | "other";

/** Looks at the names in `directory` and decides what it is. */
export async function directoryKind(directory: string): Promise<DirectoryKind> {
	// Not a directory: then it is the name of a repository, or a mistake that whoever opens it reports.
	const names = await readdir(directory).catch((): string[] => []);
	if (names.some((name) => /^(?:__\d+)?\.metadata$/.test(name))) return "checkpoint";
	return names.some((name) => name.endsWith(".distcp") || name === STATE_NAME)
		? "unfinished"
		: "other";
}
