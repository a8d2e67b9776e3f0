import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import { readCaBundle, readTokenFile } from "./environment-files.ts";

/** What the Hugging Face environment variables say, checked and complete. The same variables and rules as `huggingface_hub` 2.4. */
export interface HubEnvironment {
	/** Base URL of the Hub without a trailing slash: `https://huggingface.co`. */
	readonly endpoint: string;
	/** Bearer token for the endpoint's origin, and for no other. */
	readonly token: string | undefined;
	/** Directory of the Hub cache, absolute. It need not exist. */
	readonly cacheDir: string;
	/** No HTTP at all: only directories and the cache are sources. */
	readonly offline: boolean;
	/** PEM certificates to trust instead of the built-in ones. */
	readonly ca: string | undefined;
	readonly userAgent: string;
	readonly proxy: ProxyEnvironment;
	/** Longest silence while a file's metadata is asked for, milliseconds. An idle limit, not a total. */
	readonly metadataTimeoutMs: number;
	/** Longest silence while bytes are received, milliseconds. An idle limit, not a total. */
	readonly downloadTimeoutMs: number;
}

/**
 * Proxies, named as undici's `EnvHttpProxyAgent` takes them. Empty strings mean none; they are never left out, because
 * undici would then look at `process.env` itself.
 */
export interface ProxyEnvironment {
	readonly httpProxy: string;
	readonly httpsProxy: string;
	readonly noProxy: string;
}

type Variables = { readonly [name: string]: string | undefined };

const DEFAULT_ENDPOINT = "https://huggingface.co";

/** Default of both timeouts in `huggingface_hub` 2.4 `constants.py`, milliseconds. */
const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Reads the environment once. A variable that is set to the empty string counts as not set.
 *
 * - endpoint: `HF_ENDPOINT`.
 * - token: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH`, `$HF_HOME/token`; none with
 *   `HF_HUB_DISABLE_IMPLICIT_TOKEN` (which in `huggingface_hub`, too, keeps `HF_TOKEN` back) or offline.
 * - cache: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub`. `HF_HOME` is `$XDG_CACHE_HOME/huggingface` or
 *   `~/.cache/huggingface` when not set. `~` and `$NAME` are expanded in every path.
 * - offline: `HF_HUB_OFFLINE`, or `TRANSFORMERS_OFFLINE` when that is not set.
 * - certificates: `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`.
 * - proxies: `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`; lower case before upper case.
 * - timeouts: `HF_HUB_ETAG_TIMEOUT`, `HF_HUB_DOWNLOAD_TIMEOUT`, whole seconds.
 *
 * @param product - How the program calls itself in the user agent, with its version: `hf-stream-dcp/1.2.3`.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when a value cannot be used or a file it names cannot be read; the message
 * names the variable and never shows a token.
 * @see huggingface_hub 2.4.0 `constants.py`, `utils/_auth.py`
 */
export function readEnvironment(
	env: NodeJS.ProcessEnv,
	product: string = "hf-stream-dcp",
): HubEnvironment {
	const home =
		variable(env, "HF_HOME") ?? join(variable(env, "XDG_CACHE_HOME") ?? "~/.cache", "huggingface");
	const offline = isTrue(firstOf(env, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")?.value);
	const cache = firstOf(env, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")?.value ?? join(home, "hub");
	const ca = firstOf(env, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE");
	return {
		endpoint: readEndpoint(env),
		token: offline ? undefined : readToken(env, home),
		cacheDir: expandPath(env, cache),
		offline,
		ca: ca === undefined ? undefined : readCaBundle(ca.name, expandPath(env, ca.value)),
		userAgent: `${product}; node/${process.versions.node}`,
		proxy: readProxies(env),
		metadataTimeoutMs: readSeconds(env, "HF_HUB_ETAG_TIMEOUT"),
		downloadTimeoutMs: readSeconds(env, "HF_HUB_DOWNLOAD_TIMEOUT"),
	};
}

/**
 * Expands a leading `~` and every `$NAME` and `${NAME}` of a path, as Python's `expanduser` and `expandvars` do, and makes
 * it absolute. Names that are not set stay as they are.
 */
export function expandPath(env: Variables, path: string): string {
	const home = variable(env, "HOME") ?? homedir();
	const fromHome = path === "~" || path.startsWith("~/") ? home + path.slice(1) : path;
	const expanded = fromHome.replace(
		/\$(?:(\w+)|\{([^}]*)\})/g,
		(all, bare: string | undefined, braced: string | undefined) => env[bare ?? braced ?? ""] ?? all,
	);
	return resolve(expanded);
}

function variable(env: Variables, name: string): string | undefined {
	const value = env[name];
	return value === "" ? undefined : value;
}

function firstOf(
	env: Variables,
	...names: readonly string[]
): { readonly name: string; readonly value: string } | undefined {
	for (const name of names) {
		const value = variable(env, name);
		if (value !== undefined) return { name, value };
	}
	return undefined;
}

function isTrue(value: string | undefined): boolean {
	return value !== undefined && ["1", "ON", "YES", "TRUE"].includes(value.toUpperCase());
}

function readSeconds(env: Variables, name: string): number {
	const value = variable(env, name);
	if (value === undefined) return DEFAULT_TIMEOUT_MS;
	const seconds = /^\s*\+?\d{1,9}\s*$/.test(value) ? Number(value) : undefined;
	if (seconds === undefined) {
		throw invalid(`${name} must be a whole number of seconds, but is ${JSON.stringify(value)}`);
	}
	return seconds === 0 ? DEFAULT_TIMEOUT_MS : seconds * 1000;
}

function readEndpoint(env: Variables): string {
	const value = variable(env, "HF_ENDPOINT");
	if (value === undefined) return DEFAULT_ENDPOINT;
	const url = parseUrl(value);
	if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
		throw invalid(
			"HF_ENDPOINT must be a URL that starts with http:// or https://",
			"Set it to the base URL of the Hub, or unset it to use https://huggingface.co.",
		);
	}
	if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
		throw invalid(
			"HF_ENDPOINT must not contain a user name, a password, a query or a fragment",
			"Give the token in HF_TOKEN.",
		);
	}
	return value.trim().replace(/\/+$/, "");
}

function parseUrl(text: string): URL | undefined {
	return URL.canParse(text) ? new URL(text) : undefined;
}

/** Characters that are safe in an `Authorization` header. */
const TOKEN_PATTERN = /^[\x21-\x7e]+$/;

function readToken(env: Variables, home: string): string | undefined {
	if (isTrue(env["HF_HUB_DISABLE_IMPLICIT_TOKEN"])) return undefined;
	const direct = firstOf(env, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN");
	if (direct !== undefined) {
		const token = cleanToken(direct.value, direct.name);
		if (token !== undefined) return token;
	}
	if (variable(env, "HF_OIDC_RESOURCE") !== undefined) {
		throw invalid(
			"HF_OIDC_RESOURCE is set, but this program cannot exchange OIDC tokens",
			"Exchange it with the hf command line and pass the result in HF_TOKEN, or unset HF_OIDC_RESOURCE.",
		);
	}
	const path = expandPath(env, variable(env, "HF_TOKEN_PATH") ?? join(home, "token"));
	const text = readTokenFile(path);
	return text === undefined ? undefined : cleanToken(text, `the token file ${path}`);
}

function cleanToken(text: string, where: string): string | undefined {
	const token = text.replace(/[\r\n]/g, "").trim();
	if (token === "") return undefined;
	if (!TOKEN_PATTERN.test(token)) {
		throw invalid(
			`the token in ${where} contains characters that no token has`,
			"A Hugging Face token is one word of ASCII characters, such as hf_…; make a new one if it was damaged.",
		);
	}
	return token;
}

function readProxies(env: Variables): ProxyEnvironment {
	const all = readProxy(env, "all_proxy");
	return {
		httpProxy: readProxy(env, "http_proxy") ?? all ?? "",
		httpsProxy: readProxy(env, "https_proxy") ?? all ?? "",
		noProxy: firstOf(env, "no_proxy", "NO_PROXY")?.value ?? "",
	};
}

/** Protocols that undici 7.30 `ProxyAgent` speaks. */
const PROXY_PROTOCOLS: readonly string[] = ["http:", "https:", "socks5:", "socks:"];

function readProxy(env: Variables, name: string): string | undefined {
	const found = firstOf(env, name, name.toUpperCase());
	if (found === undefined) return undefined;
	// `proxy.example:3128` without a scheme is common, and curl and httpx take it.
	const text = found.value.includes("://") ? found.value : `http://${found.value}`;
	const url = parseUrl(text);
	if (url === undefined || !PROXY_PROTOCOLS.includes(url.protocol)) {
		throw invalid(
			`${found.name} is not the URL of an http, https or socks5 proxy`,
			`Correct or unset ${found.name}.`,
		);
	}
	return text;
}

function invalid(message: string, hint?: string): HfStreamDcpError {
	return new HfStreamDcpError("OPTIONS_INVALID", message, { hint });
}
