import { connect, type Socket } from "node:net";
import { Agent } from "undici";
import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { ProgressEvent } from "../../src/core/events.ts";
import { systemClock } from "../../src/fetch/clock.ts";
import { createDataPlane, type DataPlane } from "../../src/fetch/data-plane/data-plane.ts";
import type { OpenSocket } from "../../src/fetch/data-plane/connection.ts";
import type { Job } from "../../src/fetch/data-plane/job.ts";
import { OriginPool } from "../../src/fetch/data-plane/origin-pool.ts";
import type { Receiver } from "../../src/fetch/exchange.ts";
import { DEFAULT_TIMEOUTS, type HubTimeouts } from "../../src/fetch/timeouts.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import { createHubSession } from "../../src/fetch/hub-session.ts";
import { COMMIT, environmentFor, noise, REPO, WEIGHTS } from "../support/fetch-hub.ts";
import { type RawAnswer, rawHead, startRawServer } from "../support/raw-server.ts";
import { startTlsFront } from "../support/tls-front.ts";

const MiB = 2 ** 20;
const CONTENT = Buffer.from(noise(6 * MiB).buffer);
const TIMEOUTS: HubTimeouts = { ...DEFAULT_TIMEOUTS, stallMs: 5000, metadataStallMs: 5000 };

/** A whole answer, in one write. */
const good: RawAnswer = (socket, request) => {
	socket.write(
		Buffer.concat([Buffer.from(rawHead(request)), CONTENT.subarray(request.start, request.end)]),
	);
};

interface Plane extends AsyncDisposable {
	readonly plane: DataPlane;
	readonly events: readonly ProgressEvent[];
	readonly fallbacks: () => readonly string[];
	get(url: string, start: number, end: number, signal?: AbortSignal): Promise<Buffer>;
}

function openPlane(connections: number, ca?: string): Plane {
	const agent = new Agent({ connections: 4, ...(ca === undefined ? {} : { connect: { ca } }) });
	const events: ProgressEvent[] = [];
	const plane = createDataPlane({
		agent,
		clock: systemClock,
		timeouts: TIMEOUTS,
		environment: { ca, proxy: { httpProxy: "", httpsProxy: "", noProxy: "" } },
		connections,
		emit: (event) => events.push(event),
	});
	return {
		plane,
		events,
		fallbacks: () => events.flatMap((event) => (event.kind === "fallback" ? event.why : [])),
		get: async (url, start, end, signal) => {
			const into = Buffer.alloc(end - start);
			const headers = { range: `bytes=${start}-${end - 1}` };
			const request = { method: "GET", url: `${url}/big`, headers, stallMs: 5000 } as const;
			for (;;) {
				try {
					await plane.send(request, memoryReceiver(into), signal);
					return into;
				} catch (error) {
					if (!isHfStreamDcpError(error) || error.facts["again"] !== "unanswered") throw error;
				}
			}
		},
		[Symbol.asyncDispose]: async () => {
			plane.close();
			await agent.destroy();
		},
	};
}

function memoryReceiver(into: Uint8Array): Receiver {
	return ({ status }) => {
		if (status !== 206) throw new Error(`status ${status}`);
		return { into, received: () => {}, tooLong: () => new Error("too long") };
	};
}

/** Cuts `[0, total)` into equal ranges. */
function rangesOf(total: number, step: number): readonly (readonly [number, number])[] {
	return Array.from({ length: total / step }, (_, i) => [i * step, (i + 1) * step] as const);
}

describe("bodies land where they belong", () => {
	test("but for what comes with a head; one inbox serves a connection for good", async () => {
		await using server = await startRawServer(good);
		const port = Number(new URL(server.origin).port);
		const memory = new Uint8Array(CONTENT.length);
		const inboxes = new Set<ArrayBufferLike>();
		let besideBytes = 0;
		const openSocket: OpenSocket = ({ buffer, callback }, opened) => {
			let last: Uint8Array | undefined;
			const onread = {
				buffer: () => (last = buffer()),
				callback: (bytes: number) => {
					if (last !== undefined && last.buffer !== memory.buffer) {
						inboxes.add(last.buffer);
						besideBytes += bytes;
					}
					return callback(bytes);
				},
			};
			const socket = connect({ port, host: "127.0.0.1", onread });
			socket.once("connect", () => opened(null, socket));
		};
		const pool = new OriginPool({
			clock: systemClock,
			timeouts: TIMEOUTS,
			openSocket,
			maxConnections: 2,
			opened: () => {},
		});
		const ranges = rangesOf(CONTENT.length, MiB / 4);
		await Promise.all(
			ranges.map(
				([start, end]) =>
					new Promise((resolve, reject) => {
						const headers = { range: `bytes=${start}-${end - 1}` };
						const job: Job = {
							request: { method: "GET", url: server.origin, headers, stallMs: 5000 },
							text: `GET / HTTP/1.1\r\nrange: ${headers.range}\r\n\r\n`,
							receive: memoryReceiver(memory.subarray(start, end)),
							isOver: () => false,
							done: resolve,
							failed: reject,
							unusual: reject,
						};
						pool.submit(job);
					}),
			),
		);
		pool.close();
		expect(CONTENT.equals(memory)).toBe(true);
		expect(inboxes.size).toBe(2);
		expect(besideBytes).toBeLessThanOrEqual(ranges.length * 8192);
	});

	test("over TLS, with few connections and no undici", async () => {
		await using server = await startRawServer(good);
		await using front = await startTlsFront(server.origin);
		await using plane = openPlane(3, front.ca);
		const parts = await Promise.all(
			rangesOf(CONTENT.length, MiB / 2).map(([start, end]) => plane.get(front.url, start, end)),
		);
		expect(Buffer.concat(parts).equals(CONTENT)).toBe(true);
		expect(server.connections.length).toBeLessThanOrEqual(3);
		expect(plane.fallbacks()).toEqual([]);
	});

	test("whatever the reads cut them into", async () => {
		// Answers to requests that were sent ahead wait for their turn.
		const unsent = new Map<Socket, Buffer>();
		await using server = await startRawServer((socket, request) => {
			const before = unsent.get(socket) ?? Buffer.alloc(0);
			const body = CONTENT.subarray(request.start, request.end);
			unsent.set(socket, Buffer.concat([before, Buffer.from(rawHead(request)), body]));
			const send = (): void => {
				const all = unsent.get(socket) ?? Buffer.alloc(0);
				if (all.length === 0) return;
				const size = [1, 7, 60, 3000][all.length % 4] ?? 1;
				unsent.set(socket, all.subarray(size));
				socket.write(all.subarray(0, size), () => setImmediate(send));
			};
			if (before.length === 0) send();
		});
		await using plane = openPlane(2);
		const parts = await Promise.all(
			[0, 1, 2, 3].map((i) => plane.get(server.origin, i * 20_000, (i + 1) * 20_000)),
		);
		expect(Buffer.concat(parts).equals(CONTENT.subarray(0, 80_000))).toBe(true);
		expect(plane.fallbacks()).toEqual([]);
	});
});

describe("the next request", () => {
	test("is sent before the last answer has ended", async () => {
		const ends: (() => void)[] = [];
		await using server = await startRawServer((socket, request, call) => {
			const { start, end } = request;
			if (call > 0) {
				// Only now the first answer ends: the second request had come before.
				ends.splice(0).forEach((finish) => finish());
				return good(socket, request, call);
			}
			socket.write(rawHead(request));
			socket.write(CONTENT.subarray(start, end - 10));
			ends.push(() => socket.write(CONTENT.subarray(end - 10, end)));
		});
		await using plane = openPlane(1);
		const parts = await Promise.all([
			plane.get(server.origin, 0, 2 * MiB),
			plane.get(server.origin, 2 * MiB, 3 * MiB),
		]);
		expect(Buffer.concat(parts).equals(CONTENT.subarray(0, 3 * MiB))).toBe(true);
		expect(server.requests.map(({ connection }) => connection)).toEqual([0, 0]);
	});

	test("that was sent ahead to a server that hangs up is sent again, and nothing more is sent ahead", async () => {
		await using server = await startRawServer((socket, request, call) => {
			// Hangs up behind the first answer of every connection without having said so.
			if (
				server.requests.filter(({ connection }) => connection === request.connection).length > 1
			) {
				return;
			}
			good(socket, request, call);
			socket.end();
		});
		await using plane = openPlane(1);
		const parts = await Promise.all(
			rangesOf(4 * MiB, MiB).map(([start, end]) => plane.get(server.origin, start, end)),
		);
		expect(Buffer.concat(parts).equals(CONTENT.subarray(0, 4 * MiB))).toBe(true);
		expect(plane.fallbacks()).toEqual([]);
		expect(server.requests.length).toBeLessThanOrEqual(5 + server.connections.length);
	});

	test("goes to a new connection when the answer announces the end of its own", async () => {
		await using server = await startRawServer((socket, request) => {
			socket.end(
				Buffer.concat([
					Buffer.from(rawHead(request, "Connection: close\r\n")),
					CONTENT.subarray(request.start, request.end),
				]),
			);
		});
		await using plane = openPlane(1);
		const parts = await Promise.all(
			rangesOf(3 * MiB, MiB).map(([start, end]) => plane.get(server.origin, start, end)),
		);
		expect(Buffer.concat(parts).equals(CONTENT.subarray(0, 3 * MiB))).toBe(true);
		expect(server.requests.map(({ connection }) => connection)).toEqual([0, 1, 2]);
	});

	test("that nobody waits for any more leaves the others alone", async () => {
		const controller = new AbortController();
		await using server = await startRawServer((socket, request, call) => {
			if (call === 0) {
				socket.write(rawHead(request));
				socket.write(CONTENT.subarray(request.start, request.end - 1));
			} else if (call === 1) {
				// Sent ahead, and given up before its turn.
				controller.abort(new Error("enough"));
				socket.write(CONTENT.subarray(2 * MiB - 1, 2 * MiB));
				good(socket, request, call);
			} else good(socket, request, call);
		});
		await using plane = openPlane(1);
		const [first, given, third] = [
			plane.get(server.origin, 0, 2 * MiB),
			plane.get(server.origin, 2 * MiB, 3 * MiB, controller.signal),
			plane.get(server.origin, 3 * MiB, 4 * MiB),
		];
		await expect(given).rejects.toThrow("enough");
		expect((await first).equals(CONTENT.subarray(0, 2 * MiB))).toBe(true);
		expect((await third).equals(CONTENT.subarray(3 * MiB, 4 * MiB))).toBe(true);
	});
});

describe("what is not plain goes through undici, with the same bytes", () => {
	const bytes = ({ start, end }: { start: number; end: number }): Buffer =>
		CONTENT.subarray(start, end);
	const cases: readonly [name: string, answer: RawAnswer, why: RegExp][] = [
		[
			"an interim answer",
			(socket, request) => {
				socket.write("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
				good(socket, request, 0);
			},
			/interim answer, 103/,
		],
		[
			"chunks",
			(socket, request) => {
				socket.write("HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n");
				socket.write(`${(request.end - request.start).toString(16)}\r\n`);
				socket.write(bytes(request));
				socket.write("\r\n0\r\n\r\n");
			},
			/chunks/,
		],
		[
			"HTTP/1.0",
			(socket, request) => {
				socket.end(
					Buffer.concat([
						Buffer.from(rawHead(request).replace("HTTP/1.1", "HTTP/1.0")),
						bytes(request),
					]),
				);
			},
			/the status line "HTTP\/1\.0 206/,
		],
		[
			"a body that ends with the connection",
			(socket, request) => {
				socket.end(Buffer.concat([Buffer.from("HTTP/1.1 206 Fine\r\n\r\n"), bytes(request)]));
			},
			/the end of the connection/,
		],
		[
			"a head that does not fit",
			(socket, request) => {
				socket.write(rawHead(request, `X-Long: ${"x".repeat(9000)}\r\n`));
				socket.write(bytes(request));
			},
			/a head of more than 8192 bytes/,
		],
	];
	test.each(cases)("%s", async (_, answer, why) => {
		await using server = await startRawServer(answer);
		await using plane = openPlane(2);
		for (let i = 0; i < 5; i++) {
			const part = await plane.get(server.origin, i * 1000, i * 1000 + 900);
			expect(part.equals(CONTENT.subarray(i * 1000, i * 1000 + 900))).toBe(true);
		}
		expect(plane.fallbacks()).toHaveLength(5);
		expect(plane.fallbacks()[0]).toMatch(why);
		// After three of them the origin is not asked twice any more.
		expect(plane.fallbacks()[4]).toBe("its answers were unusual before");
		expect(server.requests).toHaveLength(3 * 2 + 2);
	});

	test("a proxy", async () => {
		await using server = await startRawServer(good);
		const agent = new Agent();
		const why: string[] = [];
		const plane = createDataPlane({
			agent,
			clock: systemClock,
			timeouts: TIMEOUTS,
			environment: {
				ca: undefined,
				proxy: { httpProxy: "http://localhost:1", httpsProxy: "", noProxy: "127.0.0.1" },
			},
			connections: 1,
			emit: (event) => event.kind === "fallback" && why.push(event.why),
		});
		const into = Buffer.alloc(10);
		const headers = { range: "bytes=0-9" };
		const request = { method: "GET", url: server.origin, headers, stallMs: 5000 } as const;
		await plane.send(request, memoryReceiver(into));
		expect(into.equals(CONTENT.subarray(0, 10))).toBe(true);
		expect(why).toEqual(["a proxy is configured"]);
		plane.close();
		await agent.destroy();
	});
});

test("bytes that nobody asked for end their connection and harm no other answer", async () => {
	await using server = await startRawServer((socket, request, call) => {
		good(socket, request, call);
		socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
	});
	await using plane = openPlane(1);
	for (let i = 0; i < 4; i++) {
		const part = await plane
			.get(server.origin, i * 100_000, (i + 1) * 100_000)
			.catch(() => undefined);
		// A smuggled answer may fail a read, but is never taken for data.
		if (part !== undefined) {
			expect(part.equals(CONTENT.subarray(i * 100_000, (i + 1) * 100_000))).toBe(true);
		}
	}
});

test("a server that takes no connection fails the request, and nothing else", async () => {
	const server = await startRawServer(good);
	await server[Symbol.asyncDispose]();
	await using opened = openPlane(2);
	await expect(opened.get(server.origin, 0, 10)).rejects.toMatchObject({ code: "NETWORK_FAILED" });
});

test("a lagging last answer is continued over another connection", async () => {
	const step = MiB;
	let calls = 0;
	await using hub = await createLocalHub({
		repos: [{ id: REPO, commit: COMMIT, files: new Map([[WEIGHTS, CONTENT]]) }],
		intercept: ({ record, response }, next) => {
			if (record.origin !== "cdn" || ++calls !== 6) return next();
			const [, first] = /^bytes=(\d+)-(\d+)$/.exec(record.range ?? "") ?? [];
			const start = Number(first);
			// The last one: half of it, and then hardly anything.
			response.writeHead(206, {
				"Content-Length": step,
				"Content-Range": `bytes ${start}-${start + step - 1}/${CONTENT.length}`,
			});
			response.write(CONTENT.subarray(start, start + step / 2));
		},
	});
	const events: ProgressEvent[] = [];
	await using session = createHubSession(environmentFor(hub.endpoint), {
		connections: 1,
		onEvent: (event) => events.push(event),
	});
	const files = new Map([[WEIGHTS, { bytes: CONTENT.length }]]);
	await using source = session.byteSource(REPO, COMMIT, files);
	const into = Buffer.alloc(CONTENT.length);
	await Promise.all(
		rangesOf(CONTENT.length, step).map(([start, end]) =>
			source.readInto({ file: WEIGHTS, start, end }, into.subarray(start, end)),
		),
	);
	expect(into.equals(CONTENT)).toBe(true);
	expect(events.filter(({ kind }) => kind === "hedge")).toHaveLength(1);
	expect(events.filter(({ kind }) => kind === "retry")).toEqual([]);
	const ranges = hub.requests.filter(({ origin }) => origin === "cdn").map(({ range }) => range);
	expect(ranges.at(-1)).toBe(`bytes=${5 * step + step / 2}-${6 * step - 1}`);
});
