/** What there is of a chunked body. */
export interface ChunkedText {
	/** The content so far. */
	readonly content: Uint8Array;
	/** Whether the last chunk has come. */
	readonly isWhole: boolean;
}

/**
 * Takes the chunk lines out of the beginning of a chunked body: for the text of an error, which is short and only shown. What does
 * not look like chunks ends the content.
 *
 * @see RFC 9112 §7.1
 */
export function readChunked(body: Uint8Array): ChunkedText {
	const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
	const content: Uint8Array[] = [];
	const result = (isWhole: boolean): ChunkedText => ({ content: Buffer.concat(content), isWhole });
	for (let at = 0; ;) {
		const lineEnd = bytes.indexOf("\r\n", at);
		if (lineEnd < 0) return result(false);
		const size = /^([0-9a-f]{1,8})\s*(;.*)?$/i.exec(bytes.toString("latin1", at, lineEnd))?.[1];
		if (size === undefined) return result(true);
		const length = Number.parseInt(size, 16);
		if (length === 0) return result(true);
		const start = lineEnd + 2;
		content.push(bytes.subarray(start, start + length));
		at = start + length + 2;
		if (at > bytes.length) return result(false);
	}
}
