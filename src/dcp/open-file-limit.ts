import { readFileSync } from "node:fs";

/** Ranks are written in turn, so with fewer open files than ranks nearly every write opens one. More than this many ranks do. */
const MOST_OPEN_FILES = 4096;

/** Half of 1024, a common limit, where the system does not tell. */
const UNKNOWN_LIMIT_OPEN_FILES = 512;

/** How many data files to keep open: half of what this process may open, as sockets and source files need some too. */
export function defaultMaxOpenFiles(): number {
	let limits = "";
	try {
		limits = readFileSync("/proc/self/limits", "latin1");
	} catch {
		// Not Linux.
	}
	return maxOpenFilesFor(limits);
}

/**
 * The same for the text of `/proc/self/limits`.
 *
 * @see proc_pid_limits(5); Node raises its soft limit to the hard one at start
 */
export function maxOpenFilesFor(limits: string): number {
	const soft = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
	if (soft === undefined) return UNKNOWN_LIMIT_OPEN_FILES;
	if (soft === "unlimited") return MOST_OPEN_FILES;
	return Math.min(MOST_OPEN_FILES, Math.max(1, Math.floor(Number(soft) / 2)));
}
