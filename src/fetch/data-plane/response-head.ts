/** The head of an HTTP/1.1 answer, as far as receiving a body of known length needs it. */
export interface ParsedHead {
	readonly kind: "head";
	readonly status: number;
	/** By lower-case name; values are Latin-1. */
	readonly headers: Headers;
	/** Length of the head, the empty line included: the body begins here. */
	readonly headBytes: number;
	/** Whether the connection may carry another request when the body has ended. */
	readonly keepsAlive: boolean;
}

/** A head that is HTTP, perhaps, but not the plain kind: another parser should look at it. */
export interface UnusualHead {
	readonly kind: "unusual";
	/** What is unusual, for people. */
	readonly why: string;
}

/** What {@link parseResponseHead} finds. `more`: the head has not ended yet. */
export type HeadResult = ParsedHead | UnusualHead | { readonly kind: "more" };

/** RFC 9112 §4: version, status and a reason that may be empty; obs-text allowed. */
const STATUS_LINE = /^HTTP\/1\.1 ([1-9]\d\d) [\t\x20-\x7e\x80-\xff]*$/;

/** RFC 9112 §5: no space before the colon; no line folding, because a name cannot begin with a space. */
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;

const MORE = { kind: "more" } as const;

/**
 * Parses the head at the beginning of `bytes`. Strict: lines end with CRLF, no folding, no control characters, one
 * `Content-Length`. Whatever else a lenient parser might accept is `unusual`, and so are HTTP/1.0 and interim answers, which
 * another answer follows.
 *
 * @see RFC 9112 §3–§5
 */
export function parseResponseHead(bytes: Uint8Array): HeadResult {
	const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
	const end = text.indexOf("\r\n\r\n");
	if (end < 0) return isPlausible(text) ? MORE : unusual("an answer that is not HTTP/1.1");
	const [statusLine = "", ...fieldLines] = text.slice(0, end).split("\r\n");
	const status = Number(STATUS_LINE.exec(statusLine)?.[1] ?? 0);
	if (status === 0) return unusual(`the status line ${JSON.stringify(statusLine.slice(0, 40))}`);
	if (status < 200) return unusual(`an interim answer, ${status}`);
	const headers = new Headers();
	for (const line of fieldLines) {
		const [, name, value] = FIELD_LINE.exec(line) ?? [];
		if (name === undefined || value === undefined) {
			return unusual(`the header line ${JSON.stringify(line.slice(0, 40))}`);
		}
		if (/^content-length$/i.test(name) && headers.has(name)) return unusual("two Content-Lengths");
		headers.append(name, value.trimEnd());
	}
	const keepsAlive = !/(^|[\s,])close($|[\s,])/i.test(headers.get("connection") ?? "");
	return { kind: "head", status, headers, headBytes: end + 4, keepsAlive };
}

/** How the end of a body is known. */
export type Framing =
	| { readonly kind: "length"; readonly bytes: number }
	| { readonly kind: "chunked" }
	/** The body ends with the connection. */
	| { readonly kind: "close" };

/**
 * How the body after `head` ends.
 *
 * @returns `undefined` when the head contradicts itself, or names a coding besides `chunked`.
 * @see RFC 9112 §6.3
 */
export function framingOf({ status, headers }: ParsedHead): Framing | undefined {
	const coding = headers.get("transfer-encoding");
	const length = headers.get("content-length");
	if (status === 204 || status === 304) return { kind: "length", bytes: 0 };
	if (coding !== null) {
		return length === null && /^chunked$/i.test(coding) ? { kind: "chunked" } : undefined;
	}
	if (length === null) return { kind: "close" };
	const bytes = /^\d{1,15}$/.test(length) ? Number(length) : Number.NaN;
	return Number.isSafeInteger(bytes) ? { kind: "length", bytes } : undefined;
}

/** Whether `text` may be the beginning of a status line: nonsense is noticed before the scratch memory is full of it. */
function isPlausible(text: string): boolean {
	const start = "HTTP/1.1 ";
	return text.startsWith(start.slice(0, text.length));
}

function unusual(why: string): UnusualHead {
	return { kind: "unusual", why };
}
