/**
 * The unit of page caches and of writes that bypass them: memory, file position and length of such a write are multiples of it.
 * No disk in use has larger blocks.
 */
export const PAGE_BYTES = 4096;

/** Data this long begins on a page of its file, and is staged in memory so that it can be written past the page cache. */
export const PAGED_FROM_BYTES: number = 2 ** 20;

/** What `value` is past the last multiple of {@link PAGE_BYTES}; for a negative value too. */
export function pageOffset(value: number): number {
	return ((value % PAGE_BYTES) + PAGE_BYTES) % PAGE_BYTES;
}

/** The first multiple of {@link PAGE_BYTES} that is not below `value`. */
export function pageAfter(value: number): number {
	return Math.ceil(value / PAGE_BYTES) * PAGE_BYTES;
}

/** The last multiple of {@link PAGE_BYTES} that is not above `value`. */
export function pageBefore(value: number): number {
	return Math.floor(value / PAGE_BYTES) * PAGE_BYTES;
}
