// How much of the disk a run takes while it runs.
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const INTERVAL_MS = 200;

/**
 * Bytes of the blocks that the files below a directory take; 0 when there is none.
 *
 * @param {string} directory
 * @returns {Promise<number>}
 */
export async function diskBytes(directory) {
	let sum = 0;
	const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
	for (const entry of entries) {
		const path = join(directory, entry.name);
		if (entry.isDirectory()) sum += await diskBytes(path);
		// A file may be gone already: runs rename and remove.
		else sum += ((await lstat(path).catch(() => undefined))?.blocks ?? 0) * 512;
	}
	return sum;
}

/**
 * Samples a directory until `stop` is called, which returns the most that was seen, bytes.
 *
 * @param {string} directory
 * @returns {{ stop: () => Promise<number> }}
 */
export function watchDisk(directory) {
	const ended = new AbortController();
	let peak = 0;
	const sample = async () => {
		peak = Math.max(peak, await diskBytes(directory));
	};
	const loop = async () => {
		while (!ended.signal.aborted) {
			await sample();
			await delay(INTERVAL_MS, undefined, { signal: ended.signal }).catch(() => {});
		}
	};
	const done = loop();
	return {
		stop: async () => {
			ended.abort();
			await done;
			await sample();
			return peak;
		},
	};
}
