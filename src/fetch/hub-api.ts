import { gunzipSync } from "node:zlib";
import { listFiles, modelInfo } from "@huggingface/hub";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Receiver } from "./exchange.ts";
import { type HubClient, MAX_REDIRECTS, redirectTarget } from "./hub-client.ts";
import { type ResponseHead, type Subject, withoutQuery } from "./http-errors.ts";
import type { RepoFile } from "./repo-files.ts";
import { resolveUrl } from "./resolve.ts";
import { retry } from "./retry.ts";

/** Largest answer of the API that is read: far above a page of the listing (1,000 entries). */
const API_ANSWER_BYTES = 32 * 1024 * 1024;

/**
 * The commit a revision points to now.
 *
 * @param revision - Branch, tag or commit.
 * @returns 40 hex digits.
 */
export async function pinCommit(
	client: HubClient,
	repo: string,
	revision: string,
	signal: AbortSignal,
): Promise<string> {
	const subject: Subject = { repo, revision, hasToken: client.hasToken };
	const info = await understand(client, subject, () =>
		modelInfo({
			name: repo,
			revision,
			additionalFields: ["sha"],
			hubUrl: client.endpoint,
			fetch: apiFetch(client, subject, signal),
		}),
	);
	if (!/^[0-9a-f]{40}$/.test(info.sha)) throw notAHub(client, subject, undefined);
	return info.sha;
}

/** Every file of a commit, folders included, page after page. */
export async function listRepoFiles(
	client: HubClient,
	repo: string,
	commit: string,
	signal: AbortSignal,
): Promise<readonly RepoFile[]> {
	const subject: Subject = { repo, revision: commit, hasToken: client.hasToken };
	return understand(client, subject, async () => {
		const files: RepoFile[] = [];
		const entries = listFiles({
			repo: { type: "model", name: repo },
			revision: commit,
			recursive: true,
			hubUrl: client.endpoint,
			fetch: apiFetch(client, subject, signal),
		});
		for await (const { type, path, size, lfs } of entries) {
			if (type !== "file") continue;
			files.push({ path, bytes: size, ...(lfs === undefined ? {} : { sha256: lfs.oid }) });
		}
		return files;
	});
}

/**
 * A whole small file.
 *
 * @param limitBytes - Size from which it is refused, before it is received if the server states it.
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when the file is larger than `limitBytes`; `SOURCE_CHANGED` when it comes from
 * another commit; the errors of {@link HubClient.send} after their retries.
 */
export async function readSmallFile(
	client: HubClient,
	file: { readonly repo: string; readonly commit: string; readonly path: string },
	limitBytes: number,
	signal: AbortSignal,
): Promise<Uint8Array> {
	const { repo, commit, path } = file;
	const subject: Subject = { repo, revision: commit, file: path, hasToken: client.hasToken };
	const url = resolveUrl(client.endpoint, repo, commit, path);
	return (await collect(client, { url, limitBytes, subject, commit }, signal)).body;
}

/** The content of a body. Compression is not asked for, but proxies on the way compress all the same. */
function decode(head: ResponseHead, body: Buffer, limitBytes: number, what: string): Buffer {
	const encoding = head.headers.get("content-encoding") ?? "identity";
	try {
		if (encoding === "identity") return body;
		if (encoding === "gzip") return gunzipSync(body, { maxOutputLength: limitBytes });
	} catch (error) {
		throw unreadable(`${what} came as gzip and cannot be unpacked`, error);
	}
	throw unreadable(`${what} came with content-encoding ${encoding}`);
}

function unreadable(message: string, cause?: unknown): HfStreamDcpError {
	return new HfStreamDcpError("SOURCE_UNREADABLE", message, {
		hint: "A proxy on the way compresses answers that must not be compressed: go around it.",
		cause,
	});
}

interface Wanted {
	readonly url: string;
	readonly limitBytes: number;
	readonly subject: Subject;
	/** The commit that every answer must be of, where it says. */
	readonly commit?: string;
}

/** GETs a whole body, follows redirects, tries again what may work the next time. */
function collect(
	client: HubClient,
	wanted: Wanted,
	signal: AbortSignal,
): Promise<{ readonly head: ResponseHead; readonly body: Uint8Array }> {
	const { subject, limitBytes } = wanted;
	const what = subject.file ?? subject.repo;
	const { clock, timeouts, emit } = client;
	return retry({ what, clock, timeouts, emit, signal }, async () => {
		let { url } = wanted;
		for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
			const pieces: Uint8Array[] = [];
			const receiver = keepAll(pieces, limitBytes, subject);
			const head = await client.send({ method: "GET", url, subject }, receiver, signal);
			const commit = head.headers.get("x-repo-commit");
			if (commit !== null && wanted.commit !== undefined && commit !== wanted.commit) {
				throw new HfStreamDcpError("SOURCE_CHANGED", `${what} comes from commit ${commit}`, {
					hint: "Check HF_ENDPOINT and the caches on the way, then start again.",
					facts: { ...subject, commit },
				});
			}
			const target = redirectTarget(head);
			if (target === undefined) {
				return { head, body: decode(head, Buffer.concat(pieces), limitBytes, what) };
			}
			url = target;
		}
		throw new HfStreamDcpError("HTTP_STATUS", `${what} is redirected too often`, {
			hint: "Check HF_ENDPOINT and the proxies on the way.",
			facts: { url: withoutQuery(wanted.url) },
		});
	});
}

function keepAll(pieces: Uint8Array[], limitBytes: number, subject: Subject): Receiver {
	const refuse = (bytes: number): never => {
		const what = subject.file ?? `the listing of ${subject.repo}`;
		throw new HfStreamDcpError("SOURCE_UNREADABLE", `${what} has ${bytes} bytes or more`, {
			hint: `Files of this kind are read up to ${limitBytes} bytes.`,
			facts: { ...subject, bytes, limitBytes },
		});
	};
	return (head) => {
		const stated = Number(head.headers.get("content-length") ?? 0);
		if (stated > limitBytes) refuse(stated);
		let bytes = 0;
		return (piece) => {
			bytes += piece.length;
			if (bytes > limitBytes) refuse(bytes);
			pieces.push(Buffer.from(piece));
		};
	};
}

/** Hosts that a mirror's answers may still name for the endpoint it stands for. */
const HUB_HOSTS: ReadonlySet<string> = new Set(["huggingface.co", "hf.co"]);

/**
 * The `fetch` that `@huggingface/hub` is given: our connections, retries and typed errors, since its own errors keep no headers,
 * and our `Authorization`, since it accepts only tokens that begin with `hf_`.
 */
function apiFetch(client: HubClient, subject: Subject, signal: AbortSignal): typeof fetch {
	return async (input) => {
		const asked = input instanceof Request ? input.url : String(input);
		const { host, pathname, search } = new URL(asked);
		// Links to the next page name the Hub itself even when a mirror answers.
		const url = HUB_HOSTS.has(host) ? `${client.endpoint}${pathname}${search}` : asked;
		const wanted = { url, limitBytes: API_ANSWER_BYTES, subject };
		const { head, body } = await collect(client, wanted, signal);
		const link = head.headers.get("link");
		return new Response(body, { status: 200, headers: link === null ? {} : { link } });
	};
}

async function understand<T>(
	client: HubClient,
	subject: Subject,
	work: () => Promise<T>,
): Promise<T> {
	try {
		return await work();
	} catch (error) {
		// What the library throws itself is about an answer that it cannot read.
		if (error instanceof SyntaxError || error instanceof TypeError) {
			throw notAHub(client, subject, error);
		}
		throw error;
	}
}

function notAHub(client: HubClient, subject: Subject, cause: unknown): HfStreamDcpError {
	return new HfStreamDcpError(
		"HTTP_STATUS",
		`${client.endpoint} does not answer as a Hub about ${subject.repo}`,
		{ hint: "Check HF_ENDPOINT.", facts: { ...subject, endpoint: client.endpoint }, cause },
	);
}
