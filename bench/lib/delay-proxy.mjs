// A network path with a round trip time and faults, for kernels without `netem`: a TCP proxy in a process of its own.
import { fork } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";

/**
 * What a connection may have on its way in one direction: half of Linux's largest default receive window, because the proxy delays
 * half of the round trip. So one connection gets at most 6 MiB per round trip, as on a real path.
 */
const WINDOW_BYTES = 3 * 2 ** 20;

/**
 * @typedef {object} DelayProxy
 * @property {string} origin `http://127.0.0.1:…`
 * @property {() => Promise<number>} cuts connections that were cut since the start or the last call
 * @property {() => Promise<void>} stop ends the process
 */

/**
 * Starts a proxy to a local port. Bytes arrive `roundTripMs / 2` later in each direction, and a new connection waits one round trip
 * more, for its handshake. Slow start and packet loss are not imitated.
 *
 * @param {object} options
 * @param {string} options.origin where it leads to, `http://host:port`
 * @param {number} options.roundTripMs
 * @param {number} [options.cutEveryBytes] the connection that carries this many bytes' last one, counted over all connections, is
 * closed in the middle of them; the first time after half of it. Default: never.
 * @returns {Promise<DelayProxy>}
 */
export async function startDelayProxy(options) {
	const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(options)]);
	const ended = once(child, "exit");
	const [{ origin }] = await once(child, "message");
	return {
		origin,
		cuts: async () => {
			child.send("cuts");
			const [answer] = await once(child, "message");
			return answer.cuts;
		},
		stop: async () => {
			child.disconnect();
			await ended;
		},
	};
}

/** Moves bytes from `source` to `target`, `delayMs` later. Returns what forgets those on their way. */
function delayed(source, target, { delayMs, notBefore, onBytes }) {
	const queue = [];
	let queuedBytes = 0;
	let timer;
	let isBlocked = false;
	const add = (piece) => {
		queue.push({ due: Math.max(performance.now(), notBefore) + delayMs, piece });
		queuedBytes += piece?.length ?? 0;
		if (queuedBytes >= WINDOW_BYTES) source.pause();
		schedule();
	};
	const schedule = () => {
		if (timer !== undefined || isBlocked || queue.length === 0) return;
		timer = setTimeout(send, Math.max(0, queue[0].due - performance.now()));
	};
	const send = () => {
		timer = undefined;
		while (!isBlocked && queue.length > 0 && queue[0].due <= performance.now()) {
			const { piece } = queue.shift();
			if (piece === undefined) return void target.end();
			queuedBytes -= piece.length;
			onBytes(piece.length);
			isBlocked = !target.write(piece);
		}
		if (queuedBytes < WINDOW_BYTES) source.resume();
		schedule();
	};
	target.on("drain", () => {
		isBlocked = false;
		schedule();
	});
	source.on("data", add);
	source.on("end", () => add(undefined));
	return () => {
		clearTimeout(timer);
		queue.length = 0;
	};
}

function serve({ origin, roundTripMs, cutEveryBytes = Number.POSITIVE_INFINITY }) {
	const state = { cuts: 0, bytes: 0, nextCut: cutEveryBytes / 2 };
	const { hostname, port } = new URL(origin);
	const accept = (client) => {
		const upstream = connect(Number(port), hostname);
		const delayMs = roundTripMs / 2;
		const opened = performance.now() + roundTripMs;
		const close = () => {
			stops.forEach((stop) => stop());
			client.destroy();
			upstream.destroy();
		};
		const cut = () => {
			state.cuts++;
			stops.forEach((stop) => stop());
			// Not a reset: the end of the stream before the end of the body.
			client.end();
			upstream.destroy();
		};
		const count = (bytes) => {
			state.bytes += bytes;
			if (state.bytes < state.nextCut) return;
			state.nextCut += cutEveryBytes;
			setImmediate(cut);
		};
		const stops = [
			delayed(client, upstream, { delayMs, notBefore: opened, onBytes: () => {} }),
			delayed(upstream, client, { delayMs, notBefore: 0, onBytes: count }),
		];
		for (const socket of [client, upstream]) socket.on("error", close).setNoDelay(true);
		client.on("close", () => upstream.destroy());
	};
	const server = createServer({ allowHalfOpen: true }, accept);
	process.on("message", () => {
		process.send({ cuts: state.cuts });
		Object.assign(state, { cuts: 0, bytes: 0, nextCut: cutEveryBytes / 2 });
	});
	process.once("disconnect", () => process.exit(0));
	server.listen(0, "127.0.0.1", () => {
		process.send({ origin: `http://127.0.0.1:${server.address().port}` });
	});
}

if (process.send !== undefined && argv[1] === fileURLToPath(import.meta.url))
	serve(JSON.parse(argv[2]));
