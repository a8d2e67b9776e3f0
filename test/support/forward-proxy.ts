import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";

/** A running proxy on loopback. */
export interface ForwardProxy extends AsyncDisposable {
	readonly url: string;
	/** Hosts and ports of the tunnels it was asked for. */
	readonly tunnels: readonly string[];
}

/**
 * A proxy that does nothing but CONNECT.
 *
 * @param login - `user:password` that it demands.
 */
export async function startForwardProxy(login?: string): Promise<ForwardProxy> {
	const demanded =
		login === undefined ? undefined : `Basic ${Buffer.from(login).toString("base64")}`;
	const tunnels: string[] = [];
	const server = createServer((_, response) => response.writeHead(501).end());
	server.on("connect", (request, client, head: Buffer) => {
		tunnels.push(request.url ?? "");
		if (demanded !== undefined && request.headers["proxy-authorization"] !== demanded) {
			client.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
			return;
		}
		const { hostname, port } = new URL(`http://${request.url}`);
		const upstream = connect(Number(port), hostname, () => {
			client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
			upstream.write(head);
			upstream.pipe(client).pipe(upstream);
		});
		upstream.on("error", () => client.destroy());
		client.on("error", () => upstream.destroy());
		client.on("close", () => upstream.destroy());
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	return {
		url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
		tunnels,
		[Symbol.asyncDispose]: async () => {
			const closed = new Promise((resolve) => server.close(resolve));
			server.closeAllConnections();
			await closed;
		},
	};
}
