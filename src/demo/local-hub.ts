import {
	createServer,
	type IncomingMessage,
	type RequestListener,
	type Server,
	type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { handleCdn } from "./local-hub-cdn.ts";
import { type LocalRepo, loadRepo } from "./local-hub-files.ts";
import { handleHub } from "./local-hub-routes.ts";
import { createSigner, type RangeBinding } from "./local-hub-signing.ts";

/** One request that a local Hub or its CDN received. */
export interface RequestRecord {
	readonly origin: "hub" | "cdn";
	readonly method: string;
	/** Without the query. */
	readonly path: string;
	/** The `Range` header. */
	readonly range: string | undefined;
	readonly hasAuthorization: boolean;
	/** 0 until the answer begins. */
	status: number;
	/** Bytes of the answer's body handed to the network. */
	bytes: number;
}

/** Stands before a server's own answer: may answer itself, or call `next`, or both in its way. */
export type Intercept = (
	call: {
		readonly record: RequestRecord;
		readonly request: IncomingMessage;
		readonly response: ServerResponse;
	},
	next: () => void,
) => void;

/** Options of {@link createLocalHub}. */
export interface LocalHubOptions {
	readonly repos: readonly LocalRepo[];
	/** Port of the Hub. @default any free one */
	readonly port?: number | undefined;
	/** @default "when-ranged" */
	readonly rangeBinding?: RangeBinding | undefined;
	/** Life of a signed URL. @default 3600 s, as at the Hub */
	readonly urlLifeSeconds?: number | undefined;
	/** Tokens that exist. @default any */
	readonly tokens?: readonly string[] | undefined;
	/** Entries in one page of a listing. @default 1000, as at the Hub */
	readonly pageEntries?: number | undefined;
	/** Host of the Hub. @default "localhost" */
	readonly host?: string | undefined;
	/** Host of the CDN. @default "127.0.0.1", so that they differ by more than the port */
	readonly cdnHost?: string | undefined;
	/** Milliseconds since the epoch. @default Date.now */
	readonly now?: (() => number) | undefined;
	readonly intercept?: Intercept | undefined;
}

/** A running local Hub. Disposing it closes every connection. */
export interface LocalHub extends AsyncDisposable {
	/** For `HF_ENDPOINT`. */
	readonly endpoint: string;
	readonly cdnOrigin: string;
	/** Everything that was asked, in order. */
	readonly requests: readonly RequestRecord[];
	close(): Promise<void>;
}

/**
 * A Hub and its CDN on loopback, in this process: two real HTTP servers of different origins that speak as much of the Hub's protocol
 * as reading a model needs. Large files are redirected to signed URLs that expire.
 *
 * @see huggingface_hub 2.4, whose client downloads from it in `test/oracle/huggingface-hub.test.ts`.
 */
export async function createLocalHub(options: LocalHubOptions): Promise<LocalHub> {
	const repos = new Map(
		(await Promise.all(options.repos.map(loadRepo))).map((repo) => [repo.id, repo]),
	);
	const now = options.now ?? Date.now;
	const life = options.urlLifeSeconds ?? 3600;
	const signer = createSigner(options.rangeBinding ?? "when-ranged", life, now);
	const requests: RequestRecord[] = [];
	const serve = (
		origin: RequestRecord["origin"],
		handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
	): Server => createServer(listener({ ...options, origin, handle, requests, now }));

	const origins = { hub: "", cdn: "" };
	const state = {
		repos,
		signer,
		tokens: options.tokens,
		pageEntries: options.pageEntries ?? 1000,
		hubOrigin: () => origins.hub,
		cdnOrigin: () => origins.cdn,
	};
	const hub = serve("hub", (request, response) => handleHub(state, request, response));
	const cdn = serve("cdn", (request, response) => handleCdn(state, request, response));
	const cdnHost = options.cdnHost ?? "127.0.0.1";
	const host = options.host ?? "localhost";
	origins.hub = `http://${host}:${await listen(hub, host, options.port ?? 0)}`;
	origins.cdn = `http://${cdnHost}:${await listen(cdn, cdnHost, 0)}`;
	const close = async (): Promise<void> => {
		await Promise.all([hub, cdn].map(closeServer));
	};
	return {
		endpoint: origins.hub,
		cdnOrigin: origins.cdn,
		requests,
		close,
		[Symbol.asyncDispose]: close,
	};
}

interface ListenerOptions {
	readonly origin: RequestRecord["origin"];
	readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
	readonly requests: RequestRecord[];
	readonly now: () => number;
	readonly intercept?: Intercept | undefined;
}

function listener({ origin, handle, requests, now, intercept }: ListenerOptions): RequestListener {
	return (request, response) => {
		const record: RequestRecord = {
			origin,
			method: request.method ?? "",
			path: (request.url ?? "").replace(/\?.*$/s, ""),
			range: request.headers.range,
			hasAuthorization: request.headers.authorization !== undefined,
			status: 0,
			bytes: 0,
		};
		requests.push(record);
		watch(response, record);
		response.setHeader("Date", new Date(now()).toUTCString());
		const next = (): void => {
			// The client has gone away, or a file vanished: there is nobody or nothing to answer.
			handle(request, response).catch(() => response.destroy());
		};
		if (intercept === undefined) next();
		else intercept({ record, request, response }, next);
	};
}

/** Keeps status and size of the answer in its record while it is being written. */
function watch(response: ServerResponse, record: RequestRecord): void {
	const write = response.write.bind(response) as (...args: unknown[]) => boolean;
	const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
	const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
	const count = (piece: unknown): void => {
		if (typeof piece === "string") record.bytes += Buffer.byteLength(piece);
		else if (piece instanceof Uint8Array) record.bytes += piece.length;
	};
	response.writeHead = (...args: unknown[]) => {
		record.status = Number(args[0]);
		return writeHead(...args);
	};
	response.write = (...args: unknown[]) => {
		count(args[0]);
		return write(...args);
	};
	response.end = (...args: unknown[]) => {
		count(args[0]);
		return end(...args);
	};
}

function listen(server: Server, host: string, port: number): Promise<number> {
	return new Promise((resolve, reject) => {
		server.once("error", reject);
		server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
	});
}

function closeServer(server: Server): Promise<void> {
	return new Promise((resolve) => {
		server.close(() => resolve());
		server.closeAllConnections();
	});
}
