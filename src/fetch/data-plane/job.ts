import { type HttpRequest, type Receiver, requestTarget } from "../exchange.ts";
import type { ResponseHead } from "../http-errors.ts";

/** One request and how its answer is told. At most one of `done`, `failed` and `unusual` is called, once. */
export interface Job {
	readonly request: HttpRequest;
	/** The request as it is sent. */
	readonly text: string;
	readonly receive: Receiver;
	/** Whether nobody waits for it any more. */
	readonly isOver: () => boolean;
	/** The answer was received whole, or its head was enough. */
	readonly done: (head: ResponseHead) => void;
	readonly failed: (error: unknown) => void;
	/** The answer is one for another parser; nothing of its body was passed on. */
	readonly unusual: (why: string) => void;
}

/** Characters of a request line and of header values that need no thought. */
const PLAIN_TARGET = /^\/[\x21-\x7e]*$/;
const PLAIN_VALUE = /^[\t\x20-\x7e]*$/;

/**
 * A request as it is sent; `undefined` when it has characters that another library should judge.
 *
 * @param host - Value of `Host`.
 * @see RFC 9112 §3
 */
export function encodeRequest(request: HttpRequest, host: string): string | undefined {
	const { method, url, headers } = request;
	const target = requestTarget(url);
	const fields = Object.entries(headers);
	if (!PLAIN_TARGET.test(target) || !fields.every(([, value]) => PLAIN_VALUE.test(value))) {
		return undefined;
	}
	const lines = [`${method} ${target} HTTP/1.1`, `host: ${host}`, "connection: keep-alive"];
	for (const [name, value] of fields) lines.push(`${name}: ${value}`);
	return `${lines.join("\r\n")}\r\n\r\n`;
}
