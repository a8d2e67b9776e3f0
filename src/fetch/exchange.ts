import type { Dispatcher } from "undici";
import { isHfStreamDcpError, HfStreamDcpError } from "../core/errors.ts";
import { abortable, type Clock } from "./clock.ts";
import { networkError, type ResponseHead, withoutQuery } from "./http-errors.ts";
import type { HubTimeouts } from "./timeouts.ts";
import { watchThroughput } from "./watchdog.ts";

/** One request, complete with its headers. */
export interface HttpRequest {
	readonly method: "GET" | "HEAD";
	/** Absolute; sent as it is, because the signature of a signed URL may depend on how it is spelled. */
	readonly url: string;
	readonly headers: Readonly<Record<string, string>>;
	/** Longest silence of the peer, milliseconds. */
	readonly stallMs: number;
}

/** Memory that a body goes to. */
export interface BodyMemory {
	/** As long as the body may be. */
	readonly into: Uint8Array;
	/** Called when so many more bytes are in place. Does not throw. */
	readonly received: (bytes: number) => void;
	/** The error for a longer body. */
	readonly tooLong: () => Error;
}

/**
 * Where the body of an answer goes: to a function, piece by piece, whose memory is not ours after the call; or into memory; or
 * nowhere, because the head is enough.
 */
export type Body = ((piece: Uint8Array) => void) | BodyMemory | undefined;

/**
 * Receives an answer: called with its head, says where its body goes. `undefined` cuts the connection. An error of its own cuts
 * it, too, and fails the exchange.
 */
export type Receiver = (head: ResponseHead) => Body;

/** Puts pieces into memory, one behind the other. */
function intoMemory({ into, received, tooLong }: BodyMemory): (piece: Uint8Array) => void {
	let position = 0;
	return (piece) => {
		if (piece.length > into.length - position) throw tooLong();
		into.set(piece, position);
		position += piece.length;
		received(piece.length);
	};
}

/** What carries an exchange. */
export interface Carrier {
	readonly agent: Dispatcher;
	readonly clock: Clock;
	readonly timeouts: Pick<HubTimeouts, "slowWindowMs" | "slowBytesPerSecond">;
}

/** Path and query exactly as `url` spells them. */
export function requestTarget(url: string): string {
	const authority = url.indexOf("//") + 2;
	const from = url.slice(authority).search(/[/?#]/);
	if (from < 0) return "/";
	const target = url.slice(authority + from).replace(/#.*$/s, "");
	return target.startsWith("/") ? target : `/${target}`;
}

function toHeaders(raw: Readonly<Record<string, string | string[] | undefined>>): Headers {
	const headers = new Headers();
	for (const [name, value] of Object.entries(raw)) {
		for (const one of [value ?? ""].flat()) headers.append(name, one);
	}
	return headers;
}

/**
 * Sends one request and passes its answer on, without redirects, without retries.
 *
 * The body is never paused, so undici's idle timeout sees every stall; a body that drips is cut by the throughput watch.
 *
 * @returns The head, when the body has been received whole or was not wanted.
 * @throws {HfStreamDcpError} `NETWORK_FAILED`, mostly retryable; whatever `receive` throws; `signal.reason` after an abort,
 * at once, and nothing is passed on any more.
 */
export function exchange(
	carrier: Carrier,
	request: HttpRequest,
	receive: Receiver,
	signal?: AbortSignal,
): Promise<ResponseHead> {
	const { url } = request;
	return abortable(signal, (resolve, reject) => {
		const handler = createHandler(carrier, url, receive, resolve, (error) =>
			reject(isHfStreamDcpError(error) ? error : networkError(error, url)),
		);
		try {
			const { origin } = new URL(url);
			const { method, headers, stallMs } = request;
			const idle = { headersTimeout: stallMs, bodyTimeout: stallMs };
			const path = requestTarget(url);
			carrier.agent.dispatch({ origin, path, method, headers, ...idle }, handler);
		} catch (error) {
			reject(networkError(error, url));
		}
		return handler.stop;
	});
}

/** The error for an answer of which only `bytes` came in one window of the throughput watch. */
export function tooSlow(
	{ slowWindowMs, slowBytesPerSecond }: Carrier["timeouts"],
	url: string,
	bytes: number,
): HfStreamDcpError {
	const { host } = new URL(url);
	return new HfStreamDcpError(
		"NETWORK_FAILED",
		`${host} sent only ${bytes} bytes in ${slowWindowMs / 1000} s`,
		{
			hint: `An answer slower than ${slowBytesPerSecond} bytes/s is cut: use fewer connections or a better network.`,
			retryable: true,
			facts: { url: withoutQuery(url), tooSlow: true },
		},
	);
}

interface StoppableHandler extends Dispatcher.DispatchHandler {
	/** To be called when the promise has settled: cuts the connection if it still runs; nothing is passed on any more. */
	readonly stop: () => void;
}

function createHandler(
	carrier: Carrier,
	url: string,
	receive: Receiver,
	succeed: (head: ResponseHead) => void,
	fail: (error: unknown) => void,
): StoppableHandler {
	let controller: Dispatcher.DispatchController | undefined;
	let head: ResponseHead | undefined;
	let take: ((piece: Uint8Array) => void) | undefined;
	let stopWatch: (() => void) | undefined;
	let received = 0;
	let over = false;

	const stop = (): void => {
		if (over) return;
		over = true;
		stopWatch?.();
		controller?.abort(new Error("the exchange was ended"));
	};
	// An exception must not reach undici's parser: it ends the exchange here.
	const guard = (step: () => void): void => {
		if (over) return;
		try {
			step();
		} catch (error) {
			fail(error);
		}
	};
	return {
		stop,
		onRequestStart: (started) => {
			controller = started;
			// The exchange may have been aborted while it queued for a connection.
			if (over) started.abort(new Error("the exchange was ended"));
		},
		onResponseStart: (_, status, headers) => {
			// 1xx: the answer proper is yet to come.
			if (status < 200) return;
			guard(() => {
				head = { url, status, headers: toHeaders(headers) };
				const body = receive(head);
				if (body === undefined) return succeed(head);
				take = typeof body === "function" ? body : intoMemory(body);
				stopWatch = watchThroughput({
					clock: carrier.clock,
					windowMs: carrier.timeouts.slowWindowMs,
					minBytesPerSecond: carrier.timeouts.slowBytesPerSecond,
					received: () => received,
					tooSlow: (bytes) => fail(tooSlow(carrier.timeouts, url, bytes)),
				});
			});
		},
		onResponseData: (_, piece) => {
			guard(() => {
				received += piece.length;
				take?.(piece);
			});
		},
		onResponseEnd: () => {
			controller = undefined;
			if (head !== undefined) succeed(head);
		},
		onResponseError: (_, error) => {
			controller = undefined;
			fail(error);
		},
	};
}
