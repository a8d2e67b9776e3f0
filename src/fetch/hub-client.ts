import { isHfStreamDcpError, HfStreamDcpError } from "../core/errors.ts";
import type { EventListener } from "../core/events.ts";
import type { RateBoard } from "../core/rate-board.ts";
import type { Clock } from "./clock.ts";
import type { HubEnvironment } from "./environment.ts";
import type { DataPlane } from "./data-plane/data-plane.ts";
import { type Carrier, exchange, type HttpRequest, type Receiver } from "./exchange.ts";
import {
	hubError,
	type ResponseHead,
	statusError,
	type Subject,
	withoutQuery,
} from "./http-errors.ts";
import { createRateGate } from "./rate-gate.ts";
import { shareLimits } from "./shared-limits.ts";
import type { HubTimeouts } from "./timeouts.ts";

/** One hop: a request without the headers that every request has. */
export interface Hop {
	readonly method: "GET" | "HEAD";
	readonly url: string;
	/** Value of `Range`. */
	readonly range?: string;
	/** What the request is about, when it goes to the Hub. */
	readonly subject: Subject;
	/** Whether the answer is weight bytes, whose body goes into memory: then the data plane carries it. @default false */
	readonly isBulk?: boolean;
}

/** Sends requests to the Hub and to where it redirects. Everything that all requests share is here. */
export interface HubClient {
	/** Without a trailing slash. */
	readonly endpoint: string;
	readonly hasToken: boolean;
	readonly clock: Clock;
	readonly timeouts: HubTimeouts;
	readonly emit: EventListener;
	/** Whether `url` has the Hub's scheme, host and port: only there the token goes. */
	isHub(url: string): boolean;
	/**
	 * One request, one answer. `receive` gets the answers below 400; the others become errors.
	 *
	 * @throws {HfStreamDcpError} see {@link hubError}, {@link statusError}, {@link exchange}; `OFFLINE` before anything is sent.
	 */
	send(hop: Hop, receive: Receiver, signal?: AbortSignal): Promise<ResponseHead>;
}

function failed(head: ResponseHead): boolean {
	return head.status >= 400;
}

/** Beginning of an error's body that is kept for its message. */
const ERROR_TEXT_BYTES = 4096;

/** The counter that a request is charged to: one of the Hub's, or an origin. */
function bucketOf(url: string, isHub: boolean): string {
	const { origin, pathname } = new URL(url);
	if (!isHub) return origin;
	return pathname.includes("/api/") && !pathname.includes("/api/resolve-cache/")
		? "api"
		: "resolvers";
}

/** The client of one session. */
export function createHubClient(
	environment: HubEnvironment,
	carrier: Carrier & {
		readonly timeouts: HubTimeouts;
		readonly dataPlane: DataPlane;
		readonly board?: RateBoard | undefined;
	},
	emit: EventListener,
): HubClient {
	const { endpoint, token } = environment;
	const { clock, timeouts, board } = carrier;
	const hubOrigin = new URL(endpoint).origin;
	const gate = createRateGate(
		clock,
		board === undefined ? undefined : shareLimits(board, environment, emit),
	);
	const isHub = (url: string): boolean => new URL(url).origin === hubOrigin;

	const request = ({ method, url, range }: Hop): HttpRequest => ({
		method,
		url,
		stallMs: method === "HEAD" ? timeouts.metadataStallMs : timeouts.stallMs,
		headers: {
			"user-agent": environment.userAgent,
			"accept-encoding": "identity",
			...(range === undefined ? {} : { range }),
			...(token !== undefined && isHub(url) ? { authorization: `Bearer ${token}` } : {}),
		},
	});

	const send: HubClient["send"] = async (hop, receive, signal) => {
		const { url, subject } = hop;
		if (environment.offline) throw offline(subject);
		const bucket = bucketOf(url, isHub(url));
		await gate.pass(bucket, signal);
		const errorText: Uint8Array[] = [];
		const receiveGood: Receiver = (answer) =>
			failed(answer) ? keepBeginning(errorText) : receive(answer);
		const head =
			hop.isBulk === true
				? await carrier.dataPlane.send(request(hop), receiveGood, signal)
				: await exchange(carrier, request(hop), receiveGood, signal);
		if (!failed(head)) return head;
		const text = Buffer.concat(errorText).toString("utf8");
		const error = isHub(url)
			? hubError(head, text, subject)
			: statusError(head, text, subject.file ?? subject.repo);
		const retryAfterMs = error.facts["retryAfterMs"];
		if (isHfStreamDcpError(error, "HUB_RATE_LIMITED") && typeof retryAfterMs === "number") {
			gate.close(bucket, retryAfterMs);
		}
		throw error;
	};
	return { endpoint, hasToken: token !== undefined, clock, timeouts, emit, isHub, send };
}

function keepBeginning(into: Uint8Array[]): (piece: Uint8Array) => void {
	let left = ERROR_TEXT_BYTES;
	return (piece) => {
		if (left > 0) into.push(Buffer.from(piece.subarray(0, left)));
		left -= piece.length;
	};
}

function offline(subject: Subject): HfStreamDcpError {
	const what = subject.file === undefined ? subject.repo : `${subject.file} of ${subject.repo}`;
	return new HfStreamDcpError("OFFLINE", `${what} is not in the cache and the Hub is offline`, {
		hint: "Unset HF_HUB_OFFLINE to let it be fetched.",
		facts: { repo: subject.repo, file: subject.file },
	});
}

/** Lets the body pass: for answers without one, or with a short one. Keeps the connection. */
export const ignoreBody: Receiver = () => () => {};

/** Cuts the body of a success, which may be a whole file; the short one of a redirect is let pass. */
export const headOnly: Receiver = (head) => (head.status < 300 ? undefined : () => {});

/** Longest chain of redirects that is followed. */
export const MAX_REDIRECTS = 5;

/**
 * Where an answer redirects to; `undefined` when it does not.
 *
 * @throws {HfStreamDcpError} `HTTP_STATUS` for a redirect without a usable address, and from https to http.
 */
export function redirectTarget(head: ResponseHead): string | undefined {
	if (![301, 302, 303, 307, 308].includes(head.status)) return undefined;
	const from = new URL(head.url);
	const location = head.headers.get("location") ?? "";
	// An absolute address is kept as it is spelled: a signature may depend on it.
	const isAbsolute = /^https?:\/\//i.test(location);
	const target =
		URL.canParse(location, head.url) && location !== "" ? new URL(location, from) : undefined;
	if (target === undefined || !/^https?:$/.test(target.protocol)) {
		throw refusedRedirect(head, "to no address");
	}
	if (from.protocol === "https:" && target.protocol === "http:") {
		throw refusedRedirect(head, `from https to http (${target.host})`);
	}
	return isAbsolute ? location : target.href;
}

/** The error for a redirect that is not followed. */
function refusedRedirect(head: ResponseHead, why: string): HfStreamDcpError {
	const { host } = new URL(head.url);
	return new HfStreamDcpError("HTTP_STATUS", `${host} redirects ${why}: not followed`, {
		hint: "Check HF_ENDPOINT and the proxies on the way.",
		facts: { url: withoutQuery(head.url), status: head.status },
	});
}
