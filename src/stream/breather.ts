/** A millisecond's work or so: what gathering, checksums and the page cache do with this many bytes. */
const BREATH_BYTES = 2 * 2 ** 20;

/**
 * Gives sockets, timers and finished writes their turn every few bytes of work: nothing in a tile waits for them otherwise as long
 * as there are write buffers.
 *
 * @returns What to call, and wait for, when so many bytes were worked off.
 */
export function createBreather(
	everyBytes: number = BREATH_BYTES,
): (bytes: number) => Promise<void> {
	let sinceLast = 0;
	return async (bytes) => {
		sinceLast += bytes;
		if (sinceLast < everyBytes) return;
		sinceLast = 0;
		await new Promise((resolve) => setImmediate(resolve));
	};
}
