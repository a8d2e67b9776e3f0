import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

/** One request as it arrived at a {@link RawServer}. */
export interface RawRequest {
	/** Number of the connection, from 0. */
	readonly connection: number;
	/** `[start, end)` of its `Range`. */
	readonly start: number;
	readonly end: number;
	readonly text: string;
}

/** A server that speaks only as much HTTP as a test tells it to. */
export interface RawServer extends AsyncDisposable {
	/** `http://127.0.0.1:…` */
	readonly origin: string;
	readonly requests: readonly RawRequest[];
	readonly connections: readonly Socket[];
}

/** Answers one request; `call` counts them from 0. */
export type RawAnswer = (socket: Socket, request: RawRequest, call: number) => void;

/** Starts one on loopback. Requests are told apart as they come, also those that are sent ahead. */
export async function startRawServer(answer: RawAnswer): Promise<RawServer> {
	const requests: RawRequest[] = [];
	const connections: Socket[] = [];
	const server: Server = createServer((socket) => {
		const connection = connections.push(socket) - 1;
		let pending = "";
		socket.setNoDelay(true);
		socket.on("error", () => {});
		socket.on("data", (piece) => {
			pending += piece.toString("latin1");
			for (let end = pending.indexOf("\r\n\r\n"); end >= 0; end = pending.indexOf("\r\n\r\n")) {
				const text = pending.slice(0, end + 2);
				pending = pending.slice(end + 4);
				const [, first, last] = /^range: bytes=(\d+)-(\d+)\r$/im.exec(text) ?? [];
				const request = { connection, start: Number(first), end: Number(last) + 1, text };
				answer(socket, request, requests.push(request) - 1);
			}
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	return {
		origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
		requests,
		connections,
		[Symbol.asyncDispose]: async () => {
			const closed = new Promise((resolve) => server.close(resolve));
			for (const socket of connections) socket.destroy();
			await closed;
		},
	};
}

/** The head of a correct answer, and its end. */
export function rawHead({ start, end }: RawRequest, more = ""): string {
	return `HTTP/1.1 206 Partial Content\r\nContent-Length: ${end - start}\r\n${more}\r\n`;
}
