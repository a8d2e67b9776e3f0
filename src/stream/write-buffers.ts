import { HfStreamDcpError } from "../core/errors.ts";

/** Writes in flight at most: twice the threads that Node writes files with. */
const MAX_BUFFERS = 8;

/** Smaller windows would make more calls than the overlap is worth. */
const MIN_USEFUL_BYTES = 2 ** 20;

/**
 * Allocates write buffers: at least two, so that one is filled while another is written.
 *
 * @param totalBytes - Size of all together; not exceeded.
 * @throws {HfStreamDcpError} `BUDGET_EXCEEDED` when they could not hold an element each.
 */
export function createWriteBuffers(totalBytes: number): readonly Uint8Array[] {
	const count = Math.max(2, Math.min(MAX_BUFFERS, Math.floor(totalBytes / MIN_USEFUL_BYTES)));
	// Whole elements of any dtype.
	const bufferBytes = Math.floor(totalBytes / count / 8) * 8;
	if (bufferBytes < 8) {
		throw new HfStreamDcpError("BUDGET_EXCEEDED", `${totalBytes} bytes are too few to write from`, {
			hint: "Give a larger --memory.",
			facts: { totalBytes },
		});
	}
	return Array.from({ length: count }, () => Buffer.allocUnsafeSlow(bufferBytes));
}
