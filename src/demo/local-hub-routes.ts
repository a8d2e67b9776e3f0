import type { IncomingMessage, ServerResponse } from "node:http";
import { sendFile } from "./local-hub-bytes.ts";
import type { StoredFile, StoredRepo } from "./local-hub-files.ts";
import type { UrlSigner } from "./local-hub-signing.ts";

/** What the Hub's routes serve from. */
export interface HubState {
	/** By id. */
	readonly repos: ReadonlyMap<string, StoredRepo>;
	readonly signer: UrlSigner;
	/** Tokens that exist; any does when not given. */
	readonly tokens: readonly string[] | undefined;
	/** Entries in one page of a listing. */
	readonly pageEntries: number;
	/** Origins, without a trailing slash. */
	readonly hubOrigin: () => string;
	readonly cdnOrigin: () => string;
}

interface Call {
	readonly state: HubState;
	readonly request: IncomingMessage;
	readonly response: ServerResponse;
	readonly query: URLSearchParams;
	/** Decoded groups of the route's pattern. */
	readonly parts: readonly string[];
	readonly token: string | undefined;
}

/** A refusal that the Hub explains in headers. */
class Refusal extends Error {
	readonly status: number;
	readonly code: string | undefined;
	constructor(status: number, code: string | undefined, message: string) {
		super(message);
		this.status = status;
		this.code = code;
	}
}

type Route = readonly [
	method: string,
	pattern: RegExp,
	handle: (call: Call) => void | Promise<void>,
];

/** The endpoints a reader of models needs; `{id}` is `org/name`. */
const ROUTES: readonly Route[] = [
	["GET", /^\/api\/whoami-v2$/, whoAmI],
	["GET", /^\/api\/models\/([^/]+\/[^/]+)(?:\/revision\/([^/]+))?$/, modelInfo],
	["GET", /^\/api\/models\/([^/]+\/[^/]+)\/tree\/([^/]+)(?:\/(.+))?$/, listTree],
	["POST", /^\/api\/models\/([^/]+\/[^/]+)\/paths-info\/([^/]+)$/, pathsInfo],
	["GET", /^\/api\/resolve-cache\/models\/([^/]+\/[^/]+)\/([^/]+)\/(.+)$/, serveSmall],
	["GET", /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/, resolve],
];

/** Answers one request to the Hub. */
export async function handleHub(
	state: HubState,
	request: IncomingMessage,
	response: ServerResponse,
): Promise<void> {
	const { pathname, searchParams: query } = new URL(request.url ?? "/", "http://hub");
	const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
	try {
		if (token !== undefined && state.tokens?.includes(token) === false) {
			throw new Refusal(401, undefined, "Invalid credentials in Authorization header");
		}
		for (const [method, pattern, handle] of ROUTES) {
			const match = pattern.exec(pathname);
			const asked = request.method === "HEAD" ? "GET" : request.method;
			if (match === null || asked !== method) continue;
			const parts = match.slice(1).map((part) => decodeURIComponent(part ?? ""));
			return await handle({ state, request, response, query, parts, token });
		}
		throw new Refusal(404, undefined, "Page not found");
	} catch (error) {
		if (!(error instanceof Refusal)) throw error;
		sendJson(
			response,
			error.status,
			{ error: error.message },
			{
				...(error.code === undefined ? {} : { "X-Error-Code": error.code }),
				"X-Error-Message": error.message,
			},
		);
	}
}

function sendJson(
	response: ServerResponse,
	status: number,
	value: unknown,
	headers: Readonly<Record<string, string>> = {},
): void {
	const body = JSON.stringify(value);
	response
		.writeHead(status, {
			...headers,
			"Content-Type": "application/json; charset=utf-8",
			"Content-Length": Buffer.byteLength(body),
		})
		.end(body);
}

/** The repository a call names, if this caller may know of it, at the revision it names. */
function findRepo({ state, parts, token }: Call): StoredRepo {
	const [id = "", revision = ""] = parts;
	const repo = state.repos.get(id);
	const mayRead = token !== undefined && repo?.readers.includes(token) === true;
	if (repo === undefined || (repo.access === "private" && !mayRead)) {
		throw new Refusal(token === undefined ? 401 : 404, "RepoNotFound", "Repository not found");
	}
	if (!["", "main", "HEAD", repo.commit].includes(revision)) {
		throw new Refusal(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
	}
	return repo;
}

/** The file a call names. A gated repository shows its listing to everybody, its files only to readers. */
function findFile(call: Call): [repo: StoredRepo, file: StoredFile] {
	const repo = findRepo(call);
	const { token, parts } = call;
	if (repo.access === "gated" && (token === undefined || !repo.readers.includes(token))) {
		const message = `Access to model ${repo.id} is restricted.`;
		throw new Refusal(token === undefined ? 401 : 403, "GatedRepo", message);
	}
	const file = repo.files.get(parts[2] ?? "");
	if (file === undefined) throw new Refusal(404, "EntryNotFound", "Entry not found");
	return [repo, file];
}

function whoAmI({ response, token }: Call): void {
	if (token === undefined) throw new Refusal(401, undefined, "Invalid username or password.");
	sendJson(response, 200, { type: "user", name: "local", auth: { type: "access_token" } });
}

function modelInfo(call: Call): void {
	const repo = findRepo(call);
	const modified = new Date(0).toISOString();
	sendJson(call.response, 200, {
		_id: repo.commit.slice(0, 24),
		id: repo.id,
		modelId: repo.id,
		sha: repo.commit,
		private: repo.access === "private",
		gated: repo.access === "gated" ? "manual" : false,
		disabled: false,
		downloads: 0,
		likes: 0,
		tags: [],
		createdAt: modified,
		lastModified: modified,
		siblings: [...repo.files.keys()].map((rfilename) => ({ rfilename })),
	});
}

async function describe(file: StoredFile): Promise<unknown> {
	const { path, bytes: size } = file;
	if (!file.isLarge) return { type: "file", oid: await file.gitOid(), size, path };
	const oid = await file.sha256();
	// The oid of the entry is that of the pointer file, which nobody compares with anything.
	return { type: "file", oid: oid.slice(0, 40), size, path, lfs: { oid, size, pointerSize: 135 } };
}

/** Direct children of `folder`, or everything below it; folders are entries of their own. */
async function treeOf(repo: StoredRepo, folder: string, recursive: boolean): Promise<unknown[]> {
	const prefix = folder === "" ? "" : `${folder}/`;
	const folders = new Set<string>();
	const entries: unknown[] = [];
	for (const file of repo.files.values()) {
		if (!file.path.startsWith(prefix)) continue;
		const names = file.path.slice(prefix.length).split("/");
		const depth = recursive ? names.length : Math.min(names.length, 2);
		for (let length = 1; length < depth; length++) {
			folders.add(prefix + names.slice(0, length).join("/"));
		}
		if (recursive || names.length === 1) entries.push(await describe(file));
	}
	const oid = repo.commit;
	return [...[...folders].map((path) => ({ type: "directory", oid, size: 0, path })), ...entries];
}

async function listTree(call: Call): Promise<void> {
	const { state, query, parts, response, request } = call;
	const repo = findRepo(call);
	const recursive = ["true", "True", "1"].includes(query.get("recursive") ?? "");
	const entries = await treeOf(repo, parts[2] ?? "", recursive);
	const from = Number(query.get("cursor") ?? 0);
	const to = from + state.pageEntries;
	const next = new URL(request.url ?? "/", state.hubOrigin());
	next.searchParams.set("cursor", String(to));
	const link = to < entries.length ? { Link: `<${next.href}>; rel="next"` } : {};
	sendJson(response, 200, entries.slice(from, to), link);
}

async function pathsInfo(call: Call): Promise<void> {
	const repo = findRepo(call);
	const body: Buffer[] = [];
	for await (const piece of call.request) body.push(piece as Buffer);
	const text = Buffer.concat(body).toString("utf8");
	// The Python client sends a form, the JavaScript one JSON.
	const isJson = call.request.headers["content-type"]?.startsWith("application/json") === true;
	const paths = isJson
		? (JSON.parse(text) as { readonly paths: readonly string[] }).paths
		: new URLSearchParams(text).getAll("paths");
	const files = paths.flatMap((path) => repo.files.get(path) ?? []);
	sendJson(call.response, 200, await Promise.all(files.map(describe)));
}

/** Large files: 302 to a signed URL at the CDN, with the facts on the 302. Small ones: a relative 307 inside the Hub. */
async function resolve(call: Call): Promise<void> {
	const { state, request, response } = call;
	const [repo, file] = findFile(call);
	const encoded = file.path.split("/").map(encodeURIComponent).join("/");
	const common = { "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes", Vary: "Origin" };
	if (!file.isLarge) {
		const etag = `"${await file.gitOid()}"`;
		const target = `/api/resolve-cache/models/${repo.id}/${repo.commit}/${encoded}?etag=${encodeURIComponent(etag)}`;
		const size = { "X-Linked-Size": file.bytes, "X-Linked-ETag": etag };
		response.writeHead(307, { ...common, ...size, Location: target, "Content-Length": 0 }).end();
		return;
	}
	const url = `${state.cdnOrigin()}/${repo.id}/${repo.commit}/${encoded}`;
	response
		.writeHead(302, {
			...common,
			Location: state.signer.sign(url, request.headers.range),
			"X-Linked-Size": file.bytes,
			"X-Linked-ETag": `"${await file.sha256()}"`,
			"Content-Length": 0,
		})
		.end();
}

async function serveSmall(call: Call): Promise<void> {
	const [repo, file] = findFile(call);
	await sendFile(call.request, call.response, file, {
		"X-Repo-Commit": repo.commit,
		ETag: `"${await file.gitOid()}"`,
	});
}
