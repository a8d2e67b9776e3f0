// The ways to the Hub that are measured.
import { startDelayProxy } from "./delay-proxy.mjs";
import { startHub } from "./hub.mjs";

const ROUND_TRIP_MS = 50;

/** One cut in this many pieces of the size below: 1 %. */
const PIECES_PER_CUT = 100;

/** @typedef {"http" | "tls" | "far"} NetworkName */

/**
 * @typedef {object} Network
 * @property {NetworkName} name which one it is
 * @property {string} cdn origin of the large files
 * @property {Record<string, string>} env for clients of `huggingface_hub` and ours
 * @property {string[]} curlLines of a configuration file of curl
 * @property {() => Promise<void>} reset forgets what was counted
 * @property {() => Promise<{ hubRequests: number, cuts: number }>} counted since the last `reset`
 * @property {() => Promise<void>} stop ends its processes
 */

/** What each network is, for the result file. */
export const NETWORKS = {
	http: "plain HTTP on loopback",
	tls: "TLS 1.3 on loopback",
	far: `plain HTTP, ${ROUND_TRIP_MS} ms round trip, connections cut in the middle of a body`,
};

/**
 * Starts a Hub and a way to it and to nginx.
 *
 * @param {NetworkName} name
 * @param {object} options
 * @param {import("./nginx.mjs").Nginx} options.nginx
 * @param {readonly { id: string, directory: string, cdnFolder: string }[]} options.repos
 * @param {number} options.pieceBytes `far` cuts a connection once per 100 of these
 * @returns {Promise<Network>}
 */
export async function startNetwork(name, { nginx, repos, pieceBytes }) {
	if (name === "far") return startFar({ nginx, repos, pieceBytes });
	const isTls = name === "tls";
	const cdn = isTls ? nginx.httpsOrigin : nginx.httpOrigin;
	const tls = isTls ? { tls: { certFile: nginx.caFile, keyFile: nginx.keyFile } } : {};
	const hub = await startHub({ repos, cdn, ...tls });
	return {
		name,
		cdn,
		env: { HF_ENDPOINT: hub.endpoint, ...(isTls ? { SSL_CERT_FILE: nginx.caFile } : {}) },
		curlLines: isTls ? [`cacert = "${nginx.caFile}"`] : [],
		reset: hub.reset,
		counted: async () => ({ hubRequests: (await hub.requests()).length, cuts: 0 }),
		stop: hub.stop,
	};
}

async function startFar({ nginx, repos, pieceBytes }) {
	const path = { roundTripMs: ROUND_TRIP_MS };
	const cutEveryBytes = PIECES_PER_CUT * pieceBytes;
	const cdn = await startDelayProxy({ origin: nginx.httpOrigin, ...path, cutEveryBytes });
	const hub = await startHub({ repos, cdn: cdn.origin });
	const front = await startDelayProxy({ origin: hub.endpoint, ...path });
	return {
		name: "far",
		cdn: cdn.origin,
		env: { HF_ENDPOINT: front.origin },
		curlLines: [],
		reset: async () => {
			await hub.reset();
			await cdn.cuts();
		},
		counted: async () => ({ hubRequests: (await hub.requests()).length, cuts: await cdn.cuts() }),
		stop: async () => {
			await Promise.all([cdn, front, hub].map(({ stop }) => stop()));
		},
	};
}
