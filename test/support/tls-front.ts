import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { type AddressInfo, connect } from "node:net";
import { createServer, type TLSSocket } from "node:tls";

/** One DER element. */
function der(tag: number, ...parts: readonly (Uint8Array | readonly number[])[]): Buffer {
	const body = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
	const { length } = body;
	const size = length < 128 ? [length] : [0x82, Math.floor(length / 256), length % 256];
	return Buffer.concat([Uint8Array.from([tag, ...size]), body]);
}

const SEQUENCE = 0x30;
const OID_ECDSA_SHA256 = der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
const OID_COMMON_NAME = der(0x06, [0x55, 0x04, 0x03]);
const OID_SUBJECT_ALT_NAME = der(0x06, [0x55, 0x1d, 0x11]);

/** A certificate for `localhost`, signed with its own key: RFC 5280, as little as Node needs. */
function selfSigned(): { readonly cert: string; readonly key: KeyObject } {
	const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
	const algorithm = der(SEQUENCE, OID_ECDSA_SHA256);
	const name = der(
		SEQUENCE,
		der(0x31, der(SEQUENCE, OID_COMMON_NAME, der(0x0c, Buffer.from("localhost")))),
	);
	const time = (text: string): Buffer => der(0x18, Buffer.from(text));
	const altNames = der(SEQUENCE, der(0x82, Buffer.from("localhost")));
	const extension = der(SEQUENCE, OID_SUBJECT_ALT_NAME, der(0x04, altNames));
	const content = der(
		SEQUENCE,
		der(0xa0, der(0x02, [2])),
		der(0x02, [1]),
		algorithm,
		name,
		der(SEQUENCE, time("20200101000000Z"), time("21200101000000Z")),
		name,
		publicKey.export({ type: "spki", format: "der" }),
		der(0xa3, der(SEQUENCE, extension)),
	);
	const signature = der(0x03, [0], sign("sha256", content, privateKey));
	const base64 = der(SEQUENCE, content, algorithm, signature).toString("base64");
	const cert = `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
	return { cert, key: privateKey };
}

/** TLS in front of a plain server. */
export interface TlsFront extends AsyncDisposable {
	/** `https://localhost:…` */
	readonly url: string;
	/** The certificate to trust, PEM. */
	readonly ca: string;
}

/** Ends TLS for the server at `url`. */
export async function startTlsFront(url: string): Promise<TlsFront> {
	const { cert, key } = selfSigned();
	const pem = key.export({ type: "pkcs8", format: "pem" });
	const sockets = new Set<TLSSocket>();
	const server = createServer({ cert, key: pem }, (client) => {
		sockets.add(client);
		const upstream = connect(Number(new URL(url).port), "localhost");
		client.pipe(upstream).pipe(client);
		client.on("error", () => upstream.destroy());
		upstream.on("error", () => client.destroy());
	});
	server.on("tlsClientError", () => {});
	await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
	return {
		url: `https://localhost:${(server.address() as AddressInfo).port}`,
		ca: cert,
		[Symbol.asyncDispose]: async () => {
			const closed = new Promise((resolve) => server.close(resolve));
			for (const socket of sockets) socket.destroy();
			await closed;
		},
	};
}
