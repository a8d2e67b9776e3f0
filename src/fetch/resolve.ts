import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import {
	headOnly,
	type Hop,
	type HubClient,
	ignoreBody,
	MAX_REDIRECTS,
	redirectTarget,
} from "./hub-client.ts";
import type { ResponseHead, Subject } from "./http-errors.ts";

/** A file of a commit, with what the listing says of it. */
export interface PinnedFile {
	readonly repo: string;
	/** 40 hex digits. */
	readonly commit: string;
	readonly path: string;
	readonly bytes: number;
	/** Lower-case hex. */
	readonly sha256?: string | undefined;
}

/** Where the bytes of a file can be had for now. */
export interface Location {
	readonly url: string;
	/** When to ask for a new one, on the session's clock, milliseconds. */
	readonly refreshAt: number;
	/** What the Hub calls this content: `X-Linked-ETag`, or `ETag` when it serves the file itself. Never a redirect target's own. */
	readonly etag: string | undefined;
	/** Whether the Hub sent us elsewhere; then the URL is signed, and a refusal means that it is stale. */
	readonly isRedirected: boolean;
}

/** Address of a file at the Hub. */
export function resolveUrl(endpoint: string, repo: string, revision: string, path: string): string {
	const encoded = path.split("/").map(encodeURIComponent).join("/");
	return `${endpoint}/${repo}/resolve/${encodeURIComponent(revision)}/${encoded}`;
}

/** The part of a signed URL's life in which it is used: 50 of the Hub's 60 minutes. */
const USED_PART_OF_LIFE = 5 / 6;

/**
 * How long a signed URL may be used, milliseconds: by its own expiry as seen from the server's clock, and `limitMs` at most.
 *
 * @see CloudFront canned and custom policies: `Expires`, Unix seconds.
 */
export function usableMs(url: string, headers: Headers, limitMs: number): number {
	const expires = Number(new URL(url).searchParams.get("Expires") ?? Number.NaN);
	const date = Date.parse(headers.get("date") ?? "");
	const now = Number.isNaN(date) ? Date.now() : date;
	const lifeMs = expires * 1000 - now;
	return lifeMs > 0 ? Math.min(limitMs, lifeMs * USED_PART_OF_LIFE) : limitMs;
}

/** Options of {@link locate}. */
export interface LocateOptions {
	readonly client: HubClient;
	readonly file: PinnedFile;
	/** Sent as `Range`: the location is then good for this range only. Nothing for a location good for every range. */
	readonly range?: string;
	readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the Hub where a file lies.
 *
 * Size, hash and commit are on the Hub's own answer, not on the CDN's, so redirects are followed by hand: inside the Hub with
 * the token, and up to the first answer that leaves it.
 *
 * @throws {HfStreamDcpError} `SOURCE_CHANGED` when commit, size or hash differ from the pinned ones; the errors of
 * {@link HubClient.send}.
 */
export async function locate(options: LocateOptions): Promise<Location> {
	const { client, file, range, signal } = options;
	const subject: Subject = {
		repo: file.repo,
		revision: file.commit,
		file: file.path,
		hasToken: client.hasToken,
	};
	let url = resolveUrl(client.endpoint, file.repo, file.commit, file.path);
	for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
		const head = await askHead(client, { url, subject, range }, signal);
		checkPinned(file, head);
		const target = redirectTarget(head);
		if (target === undefined) return direct(client, head);
		if (!client.isHub(target)) {
			return head.headers.has("x-linked-size") || range !== undefined
				? redirected(client, head, target)
				: await followMirror(options, head, target);
		}
		url = target;
	}
	throw tooManyRedirects(file);
}

/**
 * The head of the Hub's answer. Without a range by HEAD, or by a GET whose body is cut where HEAD is not allowed, as at some
 * mirrors. With one by GET: what a client that follows redirects would send, and what binds the URL to the range.
 */
async function askHead(
	client: HubClient,
	hop: Pick<Hop, "url" | "subject"> & { readonly range: string | undefined },
	signal: AbortSignal | undefined,
): Promise<ResponseHead> {
	const { url, subject, range } = hop;
	if (range !== undefined) {
		return client.send({ method: "GET", url, subject, range }, headOnly, signal);
	}
	try {
		return await client.send({ method: "HEAD", url, subject }, ignoreBody, signal);
	} catch (error) {
		const isRefused =
			isHfStreamDcpError(error, "HTTP_STATUS") &&
			(error.facts["status"] === 405 || error.facts["status"] === 501);
		if (!isRefused) throw error;
		return client.send({ method: "GET", url, subject }, headOnly, signal);
	}
}

function tooManyRedirects(file: PinnedFile): HfStreamDcpError {
	return new HfStreamDcpError("HTTP_STATUS", `${file.path} is redirected too often`, {
		hint: "Check HF_ENDPOINT and the proxies on the way.",
		facts: { repo: file.repo, file: file.path, redirects: MAX_REDIRECTS },
	});
}

/**
 * A mirror may redirect to another Hub, which says nothing of the file yet and redirects once more. Goes on without the token
 * until an answer stays, or the next host refuses a HEAD, as hosts of signed URLs may.
 */
async function followMirror(
	options: LocateOptions,
	from: ResponseHead,
	target: string,
): Promise<Location> {
	const { client, file, signal } = options;
	const subject: Subject = { repo: file.repo, file: file.path, hasToken: client.hasToken };
	let [head, url] = [from, target];
	for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
		try {
			const next = await client.send({ method: "HEAD", url, subject }, ignoreBody, signal);
			checkPinned(file, next);
			const further = redirectTarget(next);
			if (further === undefined) return redirected(client, head, url);
			[head, url] = [next, further];
		} catch (error) {
			if (!isHfStreamDcpError(error, "HTTP_STATUS") || error.retryable) throw error;
			return redirected(client, head, url);
		}
	}
	throw tooManyRedirects(file);
}

/** Of a Hub's answer: `X-Linked-*` describe the file that it redirects to, the plain headers a file that it serves itself. */
function checkPinned(file: PinnedFile, head: ResponseHead): void {
	const commit = head.headers.get("x-repo-commit");
	if (commit !== null && commit !== file.commit) throw changed(file, "commit", commit, file.commit);
	const isFinal = head.status < 300;
	const size =
		head.headers.get("x-linked-size") ?? (isFinal ? head.headers.get("content-length") : null);
	// The answer to a GET may be a part of the file.
	const isWhole = head.status !== 206 && head.headers.get("content-encoding") === null;
	if (size !== null && isWhole && Number(size) !== file.bytes) {
		throw changed(file, "size", size, file.bytes);
	}
	const hash = /^"?([0-9a-f]{64})"?$/.exec(head.headers.get("x-linked-etag") ?? "")?.[1];
	if (hash !== undefined && file.sha256 !== undefined && hash !== file.sha256) {
		throw changed(file, "sha256", hash, file.sha256);
	}
}

/** The error for a file that is no longer what was planned with. */
export function changed(
	file: PinnedFile,
	what: string,
	now: unknown,
	before: unknown,
): HfStreamDcpError {
	return new HfStreamDcpError(
		"SOURCE_CHANGED",
		`${file.path} of ${file.repo} changed during the run: its ${what} is ${String(now)}, not ${String(before)}`,
		{
			hint: "A pinned commit never changes at the Hub: check HF_ENDPOINT and the caches on the way, then start again.",
			facts: { repo: file.repo, commit: file.commit, file: file.path, what, now, before },
		},
	);
}

function direct(client: HubClient, head: ResponseHead): Location {
	const refreshAt = client.clock.now() + client.timeouts.refreshMs;
	const etag = head.headers.get("etag") ?? undefined;
	return { url: head.url, refreshAt, etag, isRedirected: false };
}

function redirected(client: HubClient, head: ResponseHead, url: string): Location {
	const usable = usableMs(url, head.headers, client.timeouts.refreshMs);
	const etag = head.headers.get("x-linked-etag") ?? undefined;
	return { url, refreshAt: client.clock.now() + usable, etag, isRedirected: true };
}
