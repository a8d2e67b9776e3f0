import { gzipSync } from "node:zlib";
import type { Intercept } from "../../src/demo/local-hub.ts";
import { CONTENT, WEIGHTS } from "./fetch-hub.ts";

type Call = Parameters<Intercept>[0];

/** A way to misbehave in answering one ranged GET. */
export type Fault = (call: Call, asked: Asked) => void;

/** What a request asked of a file. */
interface Asked {
	readonly start: number;
	/** Exclusive. */
	readonly end: number;
	readonly body: Uint8Array;
	/** All of the file. */
	readonly content: Uint8Array;
	/** Of a correct answer. */
	readonly headers: Readonly<Record<string, string | number>>;
}

/** Contents by file name. */
type Contents = ReadonlyMap<string, Uint8Array>;

const WEIGHTS_ONLY: Contents = new Map([[WEIGHTS, CONTENT]]);

function askedOf({ record }: Call, contents: Contents): Asked {
	const content = contents.get(record.path.split("/").at(-1) ?? "");
	if (content === undefined) throw new Error(`no content for ${record.path}`);
	const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(record.range ?? "") ?? [];
	const start = Number(first);
	const end = Number(last) + 1;
	const headers = {
		"Content-Length": end - start,
		"Content-Range": `bytes ${start}-${end - 1}/${content.length}`,
	};
	return { start, end, body: content.subarray(start, end), content, headers };
}

/** The first ranged GETs at the CDN meet these faults, one each; `undefined` lets one pass. All later ones are answered well. */
export function inTurn(...faults: readonly (Fault | undefined)[]): Intercept {
	return inTurnOn(WEIGHTS_ONLY, faults);
}

/** {@link inTurn} for other files than the fetch tests'. */
export function inTurnOn(contents: Contents, faults: readonly (Fault | undefined)[]): Intercept {
	let turn = 0;
	return (call, next) => {
		if (call.record.origin !== "cdn" || call.record.range === undefined) return next();
		const fault = faults[turn++];
		if (fault === undefined) next();
		else fault(call, askedOf(call, contents));
	};
}

/** Every ranged GET at the CDN meets the fault. */
export function always(fault: Fault): Intercept {
	return (call, next) => {
		if (call.record.origin !== "cdn" || call.record.range === undefined) next();
		else fault(call, askedOf(call, WEIGHTS_ONLY));
	};
}

/** Closes the connection with a reset before anything is answered. */
export const resetAtOnce: Fault = ({ request }) => {
	request.socket.resetAndDestroy();
};

/** Promises all, sends `bytes` bytes and closes the connection: Content-Length lies. */
export function cutAfter(bytes: number): Fault {
	return ({ response, request }, { body, headers }) => {
		response.writeHead(206, headers);
		response.write(body.subarray(0, bytes), () => request.socket.destroySoon());
	};
}

/** As {@link cutAfter}; a negative number counts from the end of what was asked for. */
export function cutBeforeEnd(bytes: number): Fault {
	return (call, asked) => cutAfter(asked.body.length - bytes)(call, asked);
}

/** As {@link cutAfter} half of what was asked for, however little that is. */
export const cutHalfway: Fault = (call, asked) => cutAfter(asked.body.length >> 1)(call, asked);

/** The whole file, status 200. */
export const ignoreRange: Fault = ({ response }, { content }) => {
	response.writeHead(200, { "Content-Length": content.length }).end(content);
};

/** The right number of bytes from one byte further on, and says so. */
export const shift: Fault = ({ response }, { start, end, content }) => {
	response.writeHead(206, {
		"Content-Length": end - start,
		"Content-Range": `bytes ${start + 1}-${end}/${content.length}`,
	});
	response.end(content.subarray(start + 1, end + 1));
};

/** Fewer bytes than asked for, and an honest Content-Length. */
export const shortHonest: Fault = ({ response }, { body, headers }) => {
	response.writeHead(206, { ...headers, "Content-Length": body.length - 1 }).end(body.subarray(1));
};

/** No Content-Length (chunked) and a body that ends early without any sign. */
export const shortChunked: Fault = ({ response }, { body, headers }) => {
	const { "Content-Range": range } = headers;
	response.writeHead(206, { "Content-Range": range ?? "" }).end(body.subarray(0, body.length >> 1));
};

/** No Content-Length (chunked) and a byte too many. */
export const longChunked: Fault = ({ response }, { body, headers }) => {
	const { "Content-Range": range } = headers;
	response.writeHead(206, { "Content-Range": range ?? "" });
	response.write(body);
	response.end("!");
};

/** Compressed, although identity was asked for; only its header tells, the length is right by chance. */
export const gzipped: Fault = ({ response }, { body, headers }) => {
	const packed = Buffer.alloc(body.length);
	packed.set(gzipSync(body).subarray(0, body.length));
	response.writeHead(206, { ...headers, "Content-Encoding": "gzip" }).end(packed);
};

/** Sends `bytes` bytes, but never all, and then nothing, with the connection open. */
export function stallAfter(bytes: number): Fault {
	return ({ response }, { body, headers }) => {
		response.writeHead(206, headers);
		response.write(body.subarray(0, Math.min(bytes, body.length - 1)));
	};
}

/** About 1 kB/s: 20 bytes every 20 ms, as long as somebody listens. */
export const trickle: Fault = ({ response }, { body, headers }) => {
	response.writeHead(206, headers);
	let sent = 0;
	const timer = setInterval(() => {
		response.write(body.subarray(sent, sent + 20));
		sent += 20;
	}, 20);
	response.once("close", () => clearInterval(timer));
};

/** Correct, but with an interim answer before and a file name in UTF-8 among the headers. */
export const rawHeader: Fault = ({ request }, { body, headers }) => {
	const fields = { ...headers, "X-File-Name": "模型.safetensors" };
	const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
	const head = ["HTTP/1.1 102 Processing", "", "HTTP/1.1 206 Partial Content", ...lines, "", ""];
	request.socket.write(head.join("\r\n"));
	request.socket.end(body);
};

/** An answer without content. */
export function status(
	code: number,
	headers: Readonly<Record<string, string>> = {},
	body = "",
): Fault {
	return ({ response }) => {
		response.writeHead(code, headers).end(body);
	};
}
