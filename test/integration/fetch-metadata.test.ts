import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type ErrorCode, isHfStreamDcpError } from "../../src/core/errors.ts";
import type { HubSession } from "../../src/fetch/hub-session.ts";
import {
	COMMIT,
	CONTENT,
	CONTENT_BYTES,
	QUICK,
	REPO,
	setStage,
	type StageOptions,
	WEIGHTS,
} from "../support/fetch-hub.ts";
import { startForwardProxy } from "../support/forward-proxy.ts";

const CONFIG = '{"model_type":"llama"}';

async function readConfig(session: HubSession): Promise<string> {
	return Buffer.from(await session.readFile(REPO, COMMIT, "config.json", 1000)).toString();
}

type Work = (session: HubSession) => Promise<unknown>;
const pin: Work = (session) => session.pin(REPO, "main");
const config: Work = readConfig;
const range: Work = (session) => {
	const source = session.byteSource(REPO, COMMIT, new Map([[WEIGHTS, { bytes: 10 }]]));
	return source.readInto({ file: WEIGHTS, start: 0, end: 1 }, new Uint8Array(1));
};

describe("a healthy Hub", () => {
	test.each(["main", COMMIT, "HEAD"])("pins %s to its commit", async (revision) => {
		await using stage = await setStage();
		expect(await stage.session.pin(REPO, revision)).toEqual({ commit: COMMIT });
	});

	test("lists every file of every folder over several pages", async () => {
		const files = new Map([
			["config.json", Buffer.from(CONFIG)],
			["original/params.json", Buffer.from("{}")],
			["original/deep/er/a b#c.safetensors", CONTENT],
			[WEIGHTS, CONTENT],
		]);
		await using stage = await setStage({ repo: { files }, pageEntries: 2 });
		const sha256 = createHash("sha256").update(CONTENT).digest("hex");
		const listed = await stage.session.list(REPO, COMMIT);
		expect(listed.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
			{ path: "config.json", bytes: CONFIG.length },
			{ path: WEIGHTS, bytes: CONTENT.length, sha256 },
			{ path: "original/deep/er/a b#c.safetensors", bytes: CONTENT.length, sha256 },
			{ path: "original/params.json", bytes: 2 },
		]);
		expect(stage.counts()["hub GET"]).toBe(4);
		// The same name, through the resolver and the CDN.
		const path = "original/deep/er/a b#c.safetensors";
		const source = stage.session.byteSource(REPO, COMMIT, new Map(listed.map((f) => [f.path, f])));
		const into = new Uint8Array(100);
		await source.readInto({ file: path, start: 50, end: 150 }, into);
		expect(into).toEqual(CONTENT.slice(50, 150));
		expect(await stage.session.readFile(REPO, COMMIT, path, CONTENT.length)).toHaveLength(
			CONTENT.length,
		);
	});

	test("a small file comes through a redirect inside the Hub, with the token", async () => {
		await using stage = await setStage({ environment: { token: "any-shape" } });
		expect(await readConfig(stage.session)).toBe(CONFIG);
		expect(stage.hub.requests.map(({ hasAuthorization }) => hasAuthorization)).toEqual([
			true,
			true,
		]);
	});

	test("a large file that is read whole comes from the CDN, without the token", async () => {
		await using stage = await setStage({ environment: { token: "any-shape" } });
		const bytes = await stage.session.readFile(REPO, COMMIT, WEIGHTS, CONTENT.length);
		expect(CONTENT_BYTES.equals(bytes)).toBe(true);
		expect(stage.hub.requests.map(({ hasAuthorization }) => hasAuthorization)).toEqual([
			true,
			false,
		]);
	});

	test("a token is needed and enough for private and gated models", async () => {
		for (const access of ["private", "gated"] as const) {
			await using stage = await setStage({
				repo: { access, readers: ["reader"] },
				environment: { token: "reader" },
			});
			expect(await stage.session.pin(REPO, "main")).toEqual({ commit: COMMIT });
			expect(await stage.read(0, 10)).toEqual(CONTENT.slice(0, 10));
		}
	});

	test("everything passes through the proxy, but what NO_PROXY names", async () => {
		await using proxy = await startForwardProxy();
		const proxied = { httpProxy: proxy.url, httpsProxy: "", noProxy: "" };
		await using stage = await setStage({ environment: { proxy: proxied } });
		expect(await readConfig(stage.session)).toBe(CONFIG);
		expect(CONTENT_BYTES.equals(await stage.read())).toBe(true);
		const hosts = [stage.hub.endpoint, stage.hub.cdnOrigin].map((url) => new URL(url).host);
		expect(new Set(proxy.tunnels)).toEqual(new Set(hosts));

		const before = proxy.tunnels.length;
		const noProxy = { ...proxied, noProxy: "localhost,127.0.0.1" };
		await using direct = await setStage({ environment: { proxy: noProxy } });
		expect(await readConfig(direct.session)).toBe(CONFIG);
		expect(proxy.tunnels).toHaveLength(before);
	});
});

describe("a proxy with a login", () => {
	test("gets it from the variable, and nobody else does", async () => {
		await using proxy = await startForwardProxy("me:secret");
		const httpProxy = proxy.url.replace("//", "//me:secret@");
		await using stage = await setStage({
			environment: { proxy: { httpProxy, httpsProxy: "", noProxy: "" } },
			intercept: ({ request }, next) => {
				expect(request.headers["proxy-authorization"]).toBeUndefined();
				next();
			},
		});
		expect(CONTENT_BYTES.equals(await stage.read())).toBe(true);
	});

	test("refuses at once who has none", async () => {
		await using proxy = await startForwardProxy("me:secret");
		const proxied = { httpProxy: proxy.url, httpsProxy: "", noProxy: "" };
		await using stage = await setStage({ environment: { proxy: proxied } });
		await expect(stage.read()).rejects.toMatchObject({
			code: "NETWORK_FAILED",
			message: `the proxy answered 407 for ${new URL(stage.hub.endpoint).host}`,
			hint: expect.stringContaining("user:password@") as string,
			retryable: false,
		});
		expect(proxy.tunnels).toHaveLength(1);
		expect(stage.hub.requests).toEqual([]);
	});
});

describe("faults that pass", () => {
	test("a small file is asked for again after resets and server errors", async () => {
		let turn = 0;
		await using stage = await setStage({
			intercept: ({ request, response }, next) => {
				turn++;
				if (turn === 1) request.socket.resetAndDestroy();
				else if (turn === 2) response.writeHead(503).end();
				else if (turn === 3) {
					response.writeHead(200, { "Content-Length": 100 });
					response.write("{", () => request.socket.destroySoon());
				} else next();
			},
		});
		expect(await readConfig(stage.session)).toBe(CONFIG);
		expect(stage.events.filter(({ kind }) => kind === "retry")).toHaveLength(3);
	});

	test("a small file that is compressed all the same is unpacked", async () => {
		await using stage = await setStage({
			intercept: ({ response }) => {
				response.writeHead(200, { "Content-Encoding": "gzip" }).end(gzipSync(CONFIG));
			},
		});
		expect(await readConfig(stage.session)).toBe(CONFIG);
	});

	test("a link of the listing that names the Hub itself stays with the endpoint", async () => {
		let pages = 0;
		await using stage = await setStage({
			environment: { token: "secret" },
			intercept: ({ request, response }, next) => {
				if (request.url?.includes("/tree/") !== true || ++pages > 1) return next();
				const link = `<https://huggingface.co${request.url}>; rel="next"`;
				response.writeHead(200, { Link: link }).end("[]");
			},
		});
		expect(await stage.session.list(REPO, COMMIT)).toHaveLength(2);
	});

	test("a mirror that redirects to another Hub is followed without the token", async () => {
		await using upstream = await setStage();
		await using mirror = await setStage({
			environment: { token: "for the mirror only" },
			intercept: ({ record, request, response }) => {
				expect(record.origin).toBe("hub");
				const location = upstream.hub.endpoint + request.url;
				response.writeHead(308, { Location: location }).end();
			},
		});
		expect(CONTENT_BYTES.equals(await mirror.read())).toBe(true);
		expect(await readConfig(mirror.session)).toBe(CONFIG);
		expect(upstream.hub.requests.some(({ hasAuthorization }) => hasAuthorization)).toBe(false);
	});
});

describe("typed errors", () => {
	const gated = { access: "gated", readers: ["reader"] } as const;
	const hidden = { access: "private", readers: ["reader"] } as const;
	const stranger = { environment: { token: "stranger" } };
	const cases: readonly [
		name: string,
		options: StageOptions,
		work: Work,
		code: ErrorCode,
		message: RegExp,
		hint: RegExp,
	][] = [
		[
			"no such model",
			{},
			(s) => s.pin("org/typo", "main"),
			"HUB_NOT_FOUND",
			/no public model org\/typo/,
			/HF_TOKEN/,
		],
		[
			"no such model for this token",
			stranger,
			(s) => s.pin("org/typo", "main"),
			"HUB_NOT_FOUND",
			/org\/typo that this token may see/,
			/token/,
		],
		["a private model", { repo: hidden }, pin, "HUB_NOT_FOUND", /no public model/, /HF_TOKEN/],
		[
			"no such revision",
			{},
			(s) => s.pin(REPO, "feature/x"),
			"HUB_NOT_FOUND",
			/no revision feature\/x/,
			/--revision/,
		],
		[
			"no such file",
			{},
			(s) => s.readFile(REPO, COMMIT, "nope.json", 9),
			"HUB_NOT_FOUND",
			/nope\.json of org\/model/,
			/page/,
		],
		["a gated model, anonymous", { repo: gated }, config, "HUB_GATED", /gated/, /HF_TOKEN/],
		[
			"a gated model, not accepted",
			{ repo: gated, ...stranger },
			config,
			"HUB_GATED",
			/gated/,
			/Accept its licence/,
		],
		["a gated model, a range", { repo: gated }, range, "HUB_GATED", /gated/, /HF_TOKEN/],
		[
			"a bad token",
			{ tokens: ["good"], environment: { token: "bad" } },
			pin,
			"HUB_UNAUTHORIZED",
			/does not accept the token/,
			/new token/,
		],
		[
			"a bad token, a range",
			{ tokens: ["good"], environment: { token: "bad" } },
			range,
			"HUB_UNAUTHORIZED",
			/does not accept/,
			/token/,
		],
		[
			"a disabled model",
			{
				intercept: ({ response }) =>
					response
						.writeHead(403, { "X-Error-Message": "Access to this resource is disabled." })
						.end(),
			},
			pin,
			"HUB_NOT_FOUND",
			/disabled/,
			/page/,
		],
		["offline", { environment: { offline: true } }, pin, "OFFLINE", /offline/, /HF_HUB_OFFLINE/],
		[
			"offline, a range",
			{ environment: { offline: true } },
			range,
			"OFFLINE",
			/model\.safetensors/,
			/HF_HUB_OFFLINE/,
		],
		[
			"a file above the limit",
			{},
			(s) => s.readFile(REPO, COMMIT, "config.json", 3),
			"SOURCE_UNREADABLE",
			/config\.json has 22 bytes/,
			/3 bytes/,
		],
		[
			"a web site",
			{ intercept: ({ response }) => response.end("<html>") },
			pin,
			"HTTP_STATUS",
			/does not answer as a Hub/,
			/HF_ENDPOINT/,
		],
		[
			"endless redirects",
			{
				intercept: ({ response, request }) =>
					response.writeHead(302, { Location: request.url }).end(),
			},
			config,
			"HTTP_STATUS",
			/too often/,
			/HF_ENDPOINT/,
		],
		[
			"endless redirects, a range",
			{
				intercept: ({ response, request }) =>
					response.writeHead(302, { Location: request.url }).end(),
			},
			range,
			"HTTP_STATUS",
			/too often/,
			/HF_ENDPOINT/,
		],
		[
			"a name that cannot be one",
			{},
			(s) => s.pin("../etc", "main"),
			"OPTIONS_INVALID",
			/etc/,
			/org\/name/,
		],
	];
	test.each(cases)("%s", async (_, options, work, code, message, hint) => {
		await using stage = await setStage({ session: { timeouts: QUICK }, ...options });
		const error: unknown = await work(stage.session).catch((reason: unknown) => reason);
		if (!isHfStreamDcpError(error, code)) throw new Error(`not ${code}`, { cause: error });
		expect(error.message).toMatch(message);
		expect(error.hint).toMatch(hint);
		// Nothing of this kind is worth another try.
		expect(stage.events.filter(({ kind }) => kind === "retry")).toEqual([]);
		if (code === "OFFLINE") expect(stage.hub.requests).toEqual([]);
	});

	test("a Hub that cannot be reached is named, after its retries", async () => {
		const stage = await setStage({ session: { timeouts: { ...QUICK, retries: 2 } } });
		await using _ = stage;
		await stage.hub.close();
		const error: unknown = await pin(stage.session).catch((reason: unknown) => reason);
		if (!isHfStreamDcpError(error, "NETWORK_FAILED")) throw new Error("not it", { cause: error });
		expect(error.message).toContain(new URL(stage.hub.endpoint).host);
		expect(error.hint).toContain("HF_ENDPOINT");
	});

	test.each([
		["before it is received", { "Content-Length": 10 ** 9 }],
		["while it is received", {}],
	])("a file above the limit is refused %s", async (_, headers) => {
		await using stage = await setStage({
			intercept: ({ response }) => {
				response.writeHead(200, headers);
				if (!("Content-Length" in headers)) response.write(Buffer.alloc(1001));
				else response.flushHeaders();
			},
		});
		await expect(readConfig(stage.session)).rejects.toMatchObject({ code: "SOURCE_UNREADABLE" });
	});

	test("a file of another commit is refused", async () => {
		await using stage = await setStage();
		const work = stage.session.readFile(REPO, "main", "config.json", 1000);
		await expect(work).rejects.toMatchObject({ code: "SOURCE_CHANGED" });
	});
});
