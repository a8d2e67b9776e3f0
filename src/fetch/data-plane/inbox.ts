import { type HeadResult, parseResponseHead } from "./response-head.ts";

/** Where bytes land that have no place yet: heads, texts of errors, and what of a body comes with its head. */
export interface Inbox {
	readonly isEmpty: boolean;
	/** Memory for the next read; never empty. */
	room(): Uint8Array;
	/** The read brought so many bytes. */
	filled(bytes: number): void;
	/** Parses the head at its beginning and takes it out. One that does not fit is unusual. */
	head(): HeadResult;
	/** Moves bytes from its beginning, as many as it has and `into` takes; returns how many. */
	take(into: Uint8Array): number;
	/** All it holds; the memory is overwritten by the next read. */
	peek(): Uint8Array;
}

/**
 * Heads of the Hub and its CDN have 1–2 KiB. The smaller this is, the less of a body comes with its head and must be copied.
 */
const INBOX_BYTES = 8 * 1024;

/** An empty inbox. */
export function createInbox(): Inbox {
	const memory = Buffer.allocUnsafeSlow(INBOX_BYTES);
	let start = 0;
	let end = 0;
	const drop = (bytes: number): void => {
		start += bytes;
		if (start === end) start = end = 0;
	};
	return {
		get isEmpty() {
			return start === end;
		},
		room() {
			if (start > 0) {
				memory.copyWithin(0, start, end);
				[start, end] = [0, end - start];
			}
			// A full inbox is the end of its connection; what the socket still asks for must not be empty.
			return memory.subarray(end === INBOX_BYTES ? 0 : end);
		},
		filled(bytes) {
			end += bytes;
		},
		head() {
			const result = parseResponseHead(memory.subarray(start, end));
			if (result.kind === "head") drop(result.headBytes);
			else if (result.kind === "more" && end - start === INBOX_BYTES) {
				return { kind: "unusual", why: `a head of more than ${INBOX_BYTES} bytes` };
			}
			return result;
		},
		take(into) {
			const bytes = Math.min(into.length, end - start);
			into.set(memory.subarray(start, start + bytes));
			drop(bytes);
			return bytes;
		},
		peek: () => memory.subarray(start, end),
	};
}
