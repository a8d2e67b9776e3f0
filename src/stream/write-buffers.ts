import { HfStreamDcpError } from "../core/errors.ts";
import { PAGE_BYTES } from "../core/pages.ts";

/** As many as Node has threads to write files with: fewer and larger writes cost less than more of them save. */
const MAX_BUFFERS = 4;

/** Smaller windows would make more calls than the overlap is worth. */
const MIN_USEFUL_BYTES = 2 * 2 ** 20;

/** How the memory of a run is divided. Bytes. */
export interface WriteBufferLayout {
	readonly count: number;
	/** Size of each buffer: whole elements of any dtype, whole pages when there is room for one. */
	readonly bufferBytes: number;
	/** From the start of one buffer to the start of the next. */
	readonly strideBytes: number;
	/** All buffers together, with what lies between them: whole pages. */
	readonly totalBytes: number;
}

/**
 * Divides memory into write buffers: at least two, so that one is filled while another is written.
 *
 * @param budgetBytes - Size of all buffers together; not exceeded.
 * @throws {HfStreamDcpError} `BUDGET_EXCEEDED` when they could not hold an element each.
 */
export function layOutWriteBuffers(budgetBytes: number): WriteBufferLayout {
	const count = Math.max(2, Math.min(MAX_BUFFERS, Math.floor(budgetBytes / MIN_USEFUL_BYTES)));
	const share = budgetBytes / count;
	const unit = share < PAGE_BYTES ? 8 : PAGE_BYTES;
	const bufferBytes = Math.floor(share / unit) * unit;
	if (bufferBytes === 0) {
		throw new HfStreamDcpError(
			"BUDGET_EXCEEDED",
			`${budgetBytes} bytes are too few to write from`,
			{
				hint: "Give a larger --memory.",
				facts: { budgetBytes },
			},
		);
	}
	const strideBytes = Math.ceil(bufferBytes / PAGE_BYTES) * PAGE_BYTES;
	return { count, bufferBytes, strideBytes, totalBytes: count * strideBytes };
}

/** The write buffers at the start of `memory`. */
export function cutWriteBuffers(
	memory: Uint8Array,
	{ count, bufferBytes, strideBytes }: WriteBufferLayout,
): readonly Uint8Array[] {
	return Array.from({ length: count }, (_, index) =>
		memory.subarray(index * strideBytes, index * strideBytes + bufferBytes),
	);
}
