import { HfStreamDcpError } from "../core/errors.ts";
import { parseRetryAfterMs } from "./rate-limit.ts";

/** Status line and headers of one answer. */
export interface ResponseHead {
	/** What was asked for. */
	readonly url: string;
	readonly status: number;
	/** By lower-case name. */
	readonly headers: Headers;
}

/** What a request to the Hub is about, for messages. */
export interface Subject {
	readonly repo: string;
	readonly revision?: string;
	readonly file?: string;
	/** Whether a token is configured: decides the hint. */
	readonly hasToken: boolean;
}

/** `url` without its query, which may hold a signature. */
export function withoutQuery(url: string): string {
	return url.replace(/[?#].*$/s, "");
}

function describe(subject: Subject): string {
	const revision = subject.revision === undefined ? "" : ` at ${subject.revision}`;
	return subject.file === undefined
		? `${subject.repo}${revision}`
		: `${subject.file} of ${subject.repo}${revision}`;
}

function facts(head: ResponseHead, subject?: Subject): Record<string, unknown> {
	return {
		url: withoutQuery(head.url),
		status: head.status,
		requestId: head.headers.get("x-request-id") ?? head.headers.get("x-amz-cf-id") ?? undefined,
		repo: subject?.repo,
		revision: subject?.revision,
		file: subject?.file,
	};
}

const TOKEN_HINT = "set HF_TOKEN, or log in with `hf auth login`";
const ALONE_TOKEN_HINT = "Set HF_TOKEN, or log in with `hf auth login`.";

type MissingWhat = "repo" | "revision" | "file";

function notFound(what: MissingWhat, head: ResponseHead, subject: Subject): HfStreamDcpError {
	const messages: { readonly [W in MissingWhat]: string } = {
		repo: subject.hasToken
			? `the Hub has no model ${subject.repo} that this token may see`
			: `the Hub has no public model ${subject.repo}`,
		revision: `${subject.repo} has no revision ${subject.revision ?? "main"}`,
		file: `there is no ${describe(subject)}`,
	};
	const hints: { readonly [W in MissingWhat]: string } = {
		repo: subject.hasToken
			? "Check the name and what the token may read."
			: `Check the name; if the model is private, ${TOKEN_HINT}.`,
		revision: "Check --revision: it takes a branch, a tag or a commit.",
		file: "Check the files on the model's page.",
	};
	return new HfStreamDcpError("HUB_NOT_FOUND", messages[what], {
		hint: hints[what],
		facts: { ...facts(head, subject), what },
	});
}

function gated(head: ResponseHead, subject: Subject): HfStreamDcpError {
	return new HfStreamDcpError("HUB_GATED", `access to ${subject.repo} is gated`, {
		hint: subject.hasToken
			? `Accept its licence at ${new URL(head.url).origin}/${subject.repo} with the account of this token.`
			: `Accept its licence at ${new URL(head.url).origin}/${subject.repo}, then ${TOKEN_HINT}.`,
		facts: facts(head, subject),
	});
}

/** Names used by `hf_raise_for_status` in huggingface_hub 2.0 `utils/_http.py`. */
const MISSING_BY_CODE: ReadonlyMap<string, MissingWhat> = new Map([
	["RepoNotFound", "repo"],
	["RevisionNotFound", "revision"],
	["EntryNotFound", "file"],
]);

/**
 * The error for an answer of the Hub that is neither a success nor a redirect. The reasons are in headers, because a HEAD has
 * no body.
 *
 * @param body - The beginning of the body, as text.
 * @see huggingface_hub 2.0 `utils/_http.py` `hf_raise_for_status`, for the codes and messages.
 */
export function hubError(head: ResponseHead, body: string, subject: Subject): HfStreamDcpError {
	const code = head.headers.get("x-error-code");
	const message = head.headers.get("x-error-message") ?? "";
	const missing = code === null ? undefined : MISSING_BY_CODE.get(code);
	if (code === "GatedRepo") return gated(head, subject);
	if (message === "Access to this resource is disabled.") {
		return new HfStreamDcpError("HUB_NOT_FOUND", `the Hub has disabled ${subject.repo}`, {
			hint: "The model's page may say why.",
			facts: { ...facts(head, subject), what: "repo" },
		});
	}
	if (head.status === 401 && /invalid credentials/i.test(`${message} ${body}`)) {
		return new HfStreamDcpError("HUB_UNAUTHORIZED", "the Hub does not accept the token", {
			hint: `Make a new token in the account's settings and ${TOKEN_HINT}.`,
			facts: facts(head, subject),
		});
	}
	if (missing !== undefined) return notFound(missing, head, subject);
	if (head.status === 401) return notFound("repo", head, subject);
	if (head.status === 403) {
		const reason = message === "" ? "" : `: ${message}`;
		return new HfStreamDcpError(
			"HUB_UNAUTHORIZED",
			`the Hub refuses ${describe(subject)}${reason}`,
			{
				hint: subject.hasToken ? "Check what the token may read." : ALONE_TOKEN_HINT,
				facts: facts(head, subject),
			},
		);
	}
	if (head.status === 404) {
		return notFound(subject.file === undefined ? "repo" : "file", head, subject);
	}
	return statusError(head, message === "" ? body : message, describe(subject), subject.hasToken);
}

/**
 * The error for a status that says nothing special, and for a 429.
 *
 * @param what - What was asked for, for people.
 * @param hasToken - Whether the request had a token: decides the hint of a 429. @default false
 */
export function statusError(
	head: ResponseHead,
	text: string,
	what: string,
	hasToken: boolean = false,
): HfStreamDcpError {
	const host = new URL(head.url).host;
	const said = text.trim().replaceAll(/\s+/g, " ").slice(0, 200);
	if (head.status === 429) return rateLimited(head, host, hasToken);
	// 501: the server does not know the method, and will not learn it.
	const isPassing = head.status === 408 || (head.status >= 500 && head.status !== 501);
	const details = said === "" || /^<(!|html)/i.test(said) ? "" : `: ${said}`;
	return new HfStreamDcpError(
		"HTTP_STATUS",
		`${host} answered ${head.status} for ${what}${details}`,
		{
			hint: isPassing
				? "The fault is the server's: run the same command again later."
				: "Check HF_ENDPOINT and the proxies on the way.",
			retryable: isPassing,
			facts: { ...facts(head), retryAfterMs: parseRetryAfterMs(head.headers), text: said },
		},
	);
}

/** What happened to a rate limit, for people. */
export function describeLimit({
	host,
	bucket,
}: {
	readonly host: string;
	/** `undefined` when the answer does not name it. */
	readonly bucket: string | undefined;
}): string {
	const name = bucket === undefined ? "a rate limit" : `the "${bucket}" rate limit`;
	return `${name} of ${host} is used up`;
}

/**
 * What raises the Hub's rate limits.
 *
 * @see huggingface/hub-docs `docs/hub/rate-limits.md`: anonymous users are counted by address, others by account and its plan.
 */
export function limitHint(hasToken: boolean): string {
	return hasToken
		? "Accounts with a paid plan have a higher limit: set HF_TOKEN to a token of one."
		: `Signed-in users have a higher limit: ${TOKEN_HINT}.`;
}

function rateLimited(head: ResponseHead, host: string, hasToken: boolean): HfStreamDcpError {
	const bucket = /^\s*"([^"]+)"/.exec(head.headers.get("ratelimit") ?? "")?.[1];
	const retryAfterMs = parseRetryAfterMs(head.headers);
	const wait = retryAfterMs === undefined ? "" : `, free again in ${retryAfterMs / 1000} s`;
	return new HfStreamDcpError("HUB_RATE_LIMITED", `${describeLimit({ host, bucket })}${wait}`, {
		hint: limitHint(hasToken),
		retryable: true,
		facts: { ...facts(head), bucket, retryAfterMs },
	});
}

/** Failures of a certificate, as Node names them: no retry mends them. */
const CERTIFICATE_CODE = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)/;

function causeCode(cause: unknown): string {
	return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

/** The status of a proxy that refuses a tunnel: undici 7.30 `lib/dispatcher/proxy-agent.js` has it in the message alone. */
const PROXY_STATUS = /^Proxy response \((\d+)\)/;

function proxyRefusal(status: number, url: string, cause: unknown): HfStreamDcpError {
	const { host } = new URL(url);
	return new HfStreamDcpError("NETWORK_FAILED", `the proxy answered ${status} for ${host}`, {
		hint:
			status === 407
				? "Put its user and password into the proxy variable: http://user:password@host:port."
				: "Correct the proxy variables, or name the host in NO_PROXY.",
		retryable: status >= 500 || status === 408 || status === 429,
		facts: { url: withoutQuery(url), proxyStatus: status },
		cause,
	});
}

/** The error for an exchange that failed below HTTP: name look-up, proxy, connection, TLS, a cut or silent body. */
export function networkError(cause: unknown, url: string): HfStreamDcpError {
	const { host } = new URL(url);
	const proxyStatus = PROXY_STATUS.exec(cause instanceof Error ? cause.message : "")?.[1];
	if (proxyStatus !== undefined) return proxyRefusal(Number(proxyStatus), url, cause);
	const code = causeCode(cause);
	const reason = cause instanceof Error && cause.message !== "" ? cause.message : code;
	const isCertificate = CERTIFICATE_CODE.test(code);
	return new HfStreamDcpError("NETWORK_FAILED", `connection to ${host} failed: ${reason}`, {
		hint: isCertificate
			? "Set SSL_CERT_FILE to the CA bundle of your network."
			: "Check the network, HF_ENDPOINT and the proxy variables.",
		retryable: !isCertificate && code !== "UND_ERR_INVALID_ARG",
		facts: { url: withoutQuery(url), causeCode: code === "" ? undefined : code },
		cause,
	});
}
