import { HfStreamDcpError, isHfStreamDcpError, invariant } from "../core/errors.ts";
import type { ByteRange } from "../core/ports.ts";
import type { BodyMemory, Receiver } from "./exchange.ts";
import type { FileLocator } from "./file-locator.ts";
import type { HubClient } from "./hub-client.ts";
import { networkError, type ResponseHead, withoutQuery } from "./http-errors.ts";
import { changed, type Location, type PinnedFile } from "./resolve.ts";
import { retry } from "./retry.ts";

/** One read of a part of a file. */
export interface RangeRead {
	readonly client: HubClient;
	readonly locator: FileLocator;
	readonly file: PinnedFile;
	readonly range: ByteRange;
	/** As long as the range. */
	readonly into: Uint8Array;
	/** Called with the number of bytes of each piece that was put in place. */
	readonly received: (bytes: number) => void;
	readonly signal?: AbortSignal | undefined;
}

/**
 * Fills `into` with the bytes of the range, whatever the network does on the way: a cut is resumed where it happened, a stale
 * URL is renewed, and bytes are taken only from an answer that says exactly what was asked for.
 *
 * @throws {HfStreamDcpError} `RANGE_IGNORED` and `RANGE_MISMATCH` when a second location answers wrongly as well;
 * `SOURCE_CHANGED`; the errors of {@link HubClient.send} after their retries. `signal.reason` after an abort.
 */
export async function readRange(read: RangeRead): Promise<void> {
	const { client, file, range, into, signal } = read;
	const { start, end } = range;
	invariant(
		start >= 0 && start <= end && end <= file.bytes && into.length === end - start,
		`range ${start}-${end} of ${file.path} (${file.bytes} bytes) into ${into.length} bytes`,
	);
	if (start === end) return;
	let position = start;
	const doubts = countDoubts();
	const { clock, timeouts, emit } = client;
	const progress = (): number => position;
	const what = file.path;
	await retry({ what, clock, timeouts, emit, signal, progress }, async (attempt) => {
		const before = position;
		// The last cut may have come right after the last byte.
		if (position === end) return;
		try {
			await receiveOnce(read, position, attempt, {
				into: into.subarray(position - start),
				received: (bytes) => {
					position += bytes;
					read.received(bytes);
				},
			});
		} catch (error) {
			// An answer that turns out wrong while it is received was wrong from its first byte.
			if (isHfStreamDcpError(error, "RANGE_MISMATCH")) position = before;
			throw doubts(error, position > before);
		}
	});
}

/** How often a wrong answer is asked for again: once, from another location. */
const WRONG_ANSWER_RETRIES = 1;

/** How often the refusal of a signed URL is answered with a new one. Two may be spent on finding out that URLs are bound to ranges. */
const REFUSAL_RETRIES = 3;

/**
 * Makes errors final that a new URL did not mend: no network outage explains them, so the full number of retries would only
 * delay the message.
 */
function countDoubts(): (error: unknown, hasProgressed: boolean) => unknown {
	let wrong = 0;
	let refused = 0;
	return (error, hasProgressed) => {
		if (hasProgressed) [wrong, refused] = [0, 0];
		if (!isHfStreamDcpError(error)) return error;
		if (isHfStreamDcpError(error, "RANGE_IGNORED", "RANGE_MISMATCH")) wrong++;
		if (isRefusal(error)) refused++;
		if (wrong <= WRONG_ANSWER_RETRIES && refused <= REFUSAL_RETRIES) return error;
		const { code, message, hint, facts, cause } = error;
		return new HfStreamDcpError(code, message, { hint, facts, cause });
	};
}

function isRefusal(error: HfStreamDcpError): boolean {
	const status = Number(error.facts["status"] ?? 0);
	return error.code === "HTTP_STATUS" && status >= 400 && status < 500 && status !== 408;
}

async function receiveOnce(
	read: RangeRead,
	from: number,
	attempt: number,
	memory: Pick<BodyMemory, "into" | "received">,
): Promise<void> {
	const { client, locator, file, range, signal } = read;
	const header = `bytes=${from}-${range.end - 1}`;
	const location = await locator.at(header, signal);
	client.emit({
		kind: "request",
		range: { file: file.path, start: from, end: range.end },
		attempt,
	});
	const { repo, commit: revision, path } = file;
	const subject = { repo, revision, file: path, hasToken: client.hasToken };
	const hop = { method: "GET", url: location.url, range: header, subject, isBulk: true } as const;
	let left = range.end - from;
	const receive: Receiver = (head) => {
		checkAnswer(file, location, from, range.end, head);
		return {
			into: memory.into,
			received: (bytes) => {
				left -= bytes;
				memory.received(bytes);
			},
			tooLong: () => mismatch(head, file, `more than the ${range.end - from} bytes asked for`),
		};
	};
	try {
		const head = await client.send(hop, receive, signal);
		if (left > 0) throw networkError(new Error(`the body ended ${left} bytes early`), head.url);
		locator.succeeded(location);
	} catch (error) {
		locator.failed(location, error);
		throw location.isRedirected ? asStale(error) : error;
	}
}

/**
 * A refusal by the host of a signed URL means that the URL is stale, or that the host is at fault; a new one may do. The Hub's own
 * refusals are final.
 */
function asStale(error: unknown): unknown {
	if (!isHfStreamDcpError(error, "HTTP_STATUS") || error.retryable) return error;
	const { code, message, facts, cause } = error;
	const hint = "The Hub was asked for a new URL each time: try again later.";
	return new HfStreamDcpError(code, message, { hint, facts, cause, retryable: true });
}

/** Accepts only an answer that is exactly bytes `[start, end)` of the file. */
function checkAnswer(
	file: PinnedFile,
	location: Location,
	start: number,
	end: number,
	head: ResponseHead,
): void {
	const { status, headers } = head;
	if (status === 200) {
		throw wrongAnswer("RANGE_IGNORED", head, file, "the whole file instead of a range");
	}
	if (status !== 206) throw mismatch(head, file, `status ${status}`);
	const etag = headers.get("etag") ?? undefined;
	if (!location.isRedirected && location.etag !== undefined && etag !== undefined) {
		if (etag !== location.etag) throw changed(file, "ETag", etag, location.etag);
	}
	const encoding = headers.get("content-encoding") ?? "identity";
	if (encoding !== "identity") throw mismatch(head, file, `content-encoding ${encoding}`);
	const wanted = `bytes ${start}-${end - 1}/${file.bytes}`;
	const range = headers.get("content-range") ?? "no Content-Range";
	if (range !== wanted) throw mismatch(head, file, `"${range}" instead of "${wanted}"`);
	const length = headers.get("content-length");
	if (length !== null && Number(length) !== end - start) {
		throw mismatch(head, file, `Content-Length ${length} for a range of ${end - start} bytes`);
	}
}

function mismatch(head: ResponseHead, file: PinnedFile, what: string): HfStreamDcpError {
	return wrongAnswer("RANGE_MISMATCH", head, file, what);
}

function wrongAnswer(
	code: "RANGE_IGNORED" | "RANGE_MISMATCH",
	head: ResponseHead,
	file: PinnedFile,
	what: string,
): HfStreamDcpError {
	const { host } = new URL(head.url);
	return new HfStreamDcpError(code, `${host} sent ${what} for ${file.path} of ${file.repo}`, {
		hint: "A proxy or mirror on the way does not serve byte ranges: go around it, or set HF_ENDPOINT to the Hub itself.",
		retryable: true,
		facts: {
			url: withoutQuery(head.url),
			status: head.status,
			file: file.path,
			contentRange: head.headers.get("content-range") ?? undefined,
		},
	});
}
