import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { StoredFile } from "./local-hub-files.ts";

/** The one range of a `Range` header; `undefined` for none, for several and for other units, which get the whole file. */
function parseRange(
	header: string | undefined,
	bytes: number,
): [start: number, end: number] | undefined {
	const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
	if (match === null) return undefined;
	const [, first = "", last = ""] = match;
	if (first === "") return last === "" ? undefined : [Math.max(0, bytes - Number(last)), bytes];
	return [Number(first), last === "" ? bytes : Math.min(Number(last) + 1, bytes)];
}

/**
 * Answers a GET or HEAD with a file or one range of it.
 *
 * @param headers - Sent besides those of the content.
 */
export async function sendFile(
	request: IncomingMessage,
	response: ServerResponse,
	file: StoredFile,
	headers: OutgoingHttpHeaders,
): Promise<void> {
	const range = parseRange(request.headers.range, file.bytes);
	const [start, end] = range ?? [0, file.bytes];
	if (range !== undefined && start >= end) {
		response.writeHead(416, { ...headers, "Content-Range": `bytes */${file.bytes}` }).end();
		return;
	}
	response.writeHead(range === undefined ? 200 : 206, {
		...headers,
		"Accept-Ranges": "bytes",
		"Content-Type": "application/octet-stream",
		"Content-Length": end - start,
		...(range === undefined ? {} : { "Content-Range": `bytes ${start}-${end - 1}/${file.bytes}` }),
	});
	if (request.method === "HEAD") response.end();
	else await pipeline(file.read(start, end), response);
}
