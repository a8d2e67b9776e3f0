import { type Dispatcher, EnvHttpProxyAgent } from "undici";
import type { HubEnvironment } from "./environment.ts";
import type { HubTimeouts } from "./timeouts.ts";

/**
 * The connections of one session: at most `connections` to each origin, through the environment's proxies.
 *
 * HTTP/2 stays off: undici's flow-control windows would cap a connection at a few MB/s on a long path (undici#4705), and all
 * ranges would share it. `connect` is ignored through a proxy, hence the same options three times (undici 7.30
 * `lib/dispatcher/proxy-agent.js`).
 */
export function createAgent(
	environment: HubEnvironment,
	connections: number,
	timeouts: HubTimeouts,
): Dispatcher {
	const ca = environment.ca === undefined ? {} : { ca: environment.ca };
	const connect = { timeout: timeouts.connectMs, ...ca };
	return new EnvHttpProxyAgent({
		...environment.proxy,
		connections,
		pipelining: 1,
		allowH2: false,
		headersTimeout: timeouts.stallMs,
		bodyTimeout: timeouts.stallMs,
		connect,
		requestTls: connect,
		proxyTls: connect,
	});
}
