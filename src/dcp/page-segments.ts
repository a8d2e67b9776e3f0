import { pageAfter, pageBefore, pageOffset } from "../core/pages.ts";

/** Bytes that lie one after the other from `position` of a file on. */
export interface Segment {
	readonly position: number;
	readonly parts: readonly Uint8Array[];
}

/** A write, taken apart. No page belongs to both kinds. */
export interface PageSegments {
	/** Whole pages, each segment one part, from memory congruent to the file modulo the page. */
	readonly direct: readonly Segment[];
	/** The rest. */
	readonly buffered: readonly Segment[];
}

/** Shorter stretches cost less in the page cache than a call of their own. */
export const MIN_DIRECT_BYTES: number = 64 * 1024;

/**
 * Takes a write apart into what may go past the page cache and what may not.
 *
 * A page that a write fills only in part goes through the page cache whoever writes the rest of it, because every byte is written
 * once: a page is direct only when one write covers all of it. So no page is ever written both ways, and none is lost between them.
 *
 * @param parts - In memory that begins on a page as its `ArrayBuffer` does; one after the other from `position` on.
 */
export function splitAtPages(position: number, parts: readonly Uint8Array[]): PageSegments {
	const direct: Segment[] = [];
	const buffered: Segment[] = [];
	let pending: { readonly position: number; readonly parts: Uint8Array[] } = {
		position,
		parts: [],
	};
	const flush = (next: number): void => {
		if (pending.parts.length > 0) buffered.push(pending);
		pending = { position: next, parts: [] };
	};
	const buffer = (part: Uint8Array): void => {
		if (part.length > 0) pending.parts.push(part);
	};
	let cursor = position;
	for (const part of parts) {
		const start = pageAfter(cursor);
		const end = pageBefore(cursor + part.length);
		const isInPhase = pageOffset(part.byteOffset - cursor) === 0;
		if (isInPhase && end - start >= MIN_DIRECT_BYTES) {
			buffer(part.subarray(0, start - cursor));
			flush(end);
			direct.push({ position: start, parts: [part.subarray(start - cursor, end - cursor)] });
			buffer(part.subarray(end - cursor));
		} else buffer(part);
		cursor += part.length;
	}
	flush(cursor);
	return { direct, buffered };
}
