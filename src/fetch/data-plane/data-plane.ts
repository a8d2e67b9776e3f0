import { createSecureContext } from "node:tls";
import { buildConnector } from "undici";
import type { EventListener } from "../../core/events.ts";
import { abortable } from "../clock.ts";
import type { HubEnvironment } from "../environment.ts";
import { type Carrier, exchange, type HttpRequest, type Receiver } from "../exchange.ts";
import type { ResponseHead } from "../http-errors.ts";
import type { HubTimeouts } from "../timeouts.ts";
import type { OpenSocket } from "./connection.ts";
import { encodeRequest, type Job } from "./job.ts";
import { OriginPool } from "./origin-pool.ts";

/** Carries the requests for weight bytes. */
export interface DataPlane {
	/**
	 * As {@link exchange}, for answers whose body goes into memory: received over own sockets, straight into that memory. What is
	 * not plain HTTP/1.1 over a direct connection goes through undici, with the same result, and is told as a `fallback` event.
	 */
	send(request: HttpRequest, receive: Receiver, signal?: AbortSignal): Promise<ResponseHead>;
	/** Closes every connection; what is under way fails. */
	close(): void;
}

/** What {@link createDataPlane} needs. */
export interface DataPlaneOptions extends Carrier {
	readonly environment: Pick<HubEnvironment, "ca" | "proxy">;
	readonly timeouts: HubTimeouts;
	/** Most connections to one origin. */
	readonly connections: number;
	readonly emit: EventListener;
}

/** An origin that has given so many unusual answers is asked through undici from then on: each of them costs a request. */
const MAX_UNUSUAL = 3;

/** The data plane of one session. */
export function createDataPlane(options: DataPlaneOptions): DataPlane {
	const { environment, emit } = options;
	const pools = new Map<string, OriginPool>();
	const unusual = new Map<string, number>();
	let mostConnections = 0;

	const poolOf = (origin: string): OriginPool => {
		const known = pools.get(origin);
		if (known !== undefined) return known;
		const pool = new OriginPool({
			clock: options.clock,
			timeouts: options.timeouts,
			openSocket: socketOpener(origin, environment.ca, options.timeouts.connectMs),
			maxConnections: options.connections,
			opened: (connections) => {
				if (connections <= mostConnections) return;
				mostConnections = connections;
				emit({ kind: "connections", connections });
			},
		});
		pools.set(origin, pool);
		return pool;
	};
	const sendDirectly = async (
		request: HttpRequest,
		receive: Receiver,
		signal: AbortSignal | undefined,
	): Promise<DirectResult> => {
		const url = new URL(request.url);
		if (isProxied(environment.proxy, url)) return { unusual: "a proxy is configured" };
		const before = unusual.get(url.origin) ?? 0;
		if (before >= MAX_UNUSUAL) return { unusual: "its answers were unusual before" };
		const text = url.username === "" ? encodeRequest(request, url.host) : undefined;
		if (text === undefined) return { unusual: "the request has unusual characters" };
		const result = await submit(poolOf(url.origin), { request, text, receive }, signal);
		if ("unusual" in result) unusual.set(url.origin, before + 1);
		return result;
	};
	return {
		async send(request, receive, signal) {
			const result = await sendDirectly(request, receive, signal);
			if ("head" in result) return result.head;
			emit({ kind: "fallback", host: new URL(request.url).host, why: result.unusual });
			return await exchange(options, request, receive, signal);
		},
		close() {
			for (const pool of pools.values()) pool.close();
		},
	};
}

type DirectResult = { readonly head: ResponseHead } | { readonly unusual: string };

function submit(
	pool: OriginPool,
	work: Pick<Job, "request" | "text" | "receive">,
	signal: AbortSignal | undefined,
): Promise<DirectResult> {
	return abortable<DirectResult>(signal, (resolve, reject) => {
		let isOver = false;
		const job: Job = {
			...work,
			isOver: () => isOver,
			done: (head) => resolve({ head }),
			failed: reject,
			unusual: (why) => resolve({ unusual: why }),
		};
		pool.submit(job);
		return () => {
			isOver = true;
			pool.cancel(job);
		};
	});
}

/**
 * Whether undici's agent would go through a proxy, or might: which hosts `NO_PROXY` names is left to undici, so with a list
 * everything goes its way.
 */
function isProxied(proxy: HubEnvironment["proxy"], { protocol }: URL): boolean {
	const forScheme = protocol === "https:" ? proxy.httpsProxy : proxy.httpProxy;
	return forScheme !== "" && proxy.noProxy.trim() !== "*";
}

/**
 * Opens sockets with undici's connector: SNI, happy eyeballs, keep-alive, connect timeout as everywhere else. Each socket needs a
 * connector of its own, because `onread` is one of its options, so the TLS session that a later handshake resumes is kept here.
 *
 * @see undici 7.30 `lib/core/connect.js`; Node 20 `net.Socket` option `onread`
 */
function socketOpener(origin: string, ca: string | undefined, timeout: number): OpenSocket {
	const { protocol, hostname, host, port } = new URL(origin);
	// Node would read the certificates again for every connection: 20 ms for the bundle of a system.
	const secureContext = protocol === "https:" ? createSecureContext({ ca }) : undefined;
	let session: Buffer | undefined;
	return (onread, opened) => {
		const connect = buildConnector({
			timeout,
			allowH2: false,
			onread: { ...onread },
			...(secureContext === undefined ? {} : { secureContext }),
			...(session === undefined ? {} : { session }),
		});
		// undici takes an IPv6 address without its brackets.
		const bare = hostname.replace(/^\[(.*)\]$/, "$1");
		connect({ protocol, hostname: bare, host, port }, (error, socket) => {
			socket?.on("session", (latest: Buffer) => {
				session = latest;
			});
			// undici leaves the socket out when it failed, whatever its types say.
			opened(error, socket ?? null);
		});
	};
}
