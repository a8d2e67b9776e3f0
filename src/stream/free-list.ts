/** Free blocks of one stretch of memory. First fit: low addresses are used again first, so that memory in use stays compact. */
export interface FreeList {
	/**
	 * Takes `bytes` and returns where they begin, a multiple of {@link ALIGN_BYTES}; `undefined` when no block is large enough.
	 * The block taken is rounded up to the alignment, but for the last one of the memory.
	 */
	take(bytes: number): number | undefined;
	/** Gives back what {@link take} returned for the same number of bytes. */
	give(start: number, bytes: number): void;
}

/** Staging of every element width begins on its alignment, and no two tiles share a cache line. */
const ALIGN_BYTES = 64;

interface Block {
	start: number;
	end: number;
}

/** All of `totalBytes`, free. */
export function createFreeList(totalBytes: number): FreeList {
	/** In order of address; never adjacent. Every block begins aligned; only the end of the memory may be unaligned. */
	const free: Block[] = totalBytes > 0 ? [{ start: 0, end: totalBytes }] : [];
	const endOf = (start: number, bytes: number): number =>
		Math.min(totalBytes, start + Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES);
	return {
		take(bytes) {
			const index = free.findIndex((block) => block.end - block.start >= bytes);
			const block = free[index];
			if (block === undefined) return undefined;
			const { start } = block;
			block.start = endOf(start, bytes);
			if (block.start === block.end) free.splice(index, 1);
			return start;
		},
		give(start, bytes) {
			const end = endOf(start, bytes);
			const after = free.findIndex((block) => block.start > start);
			const index = after < 0 ? free.length : after;
			free.splice(index, 0, { start, end });
			joinWithNext(free, index);
			joinWithNext(free, index - 1);
		},
	};
}

function joinWithNext(free: Block[], index: number): void {
	const block = free[index];
	const next = free[index + 1];
	if (block === undefined || next === undefined || block.end !== next.start) return;
	block.end = next.end;
	free.splice(index + 1, 1);
}
