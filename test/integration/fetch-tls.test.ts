import { expect, test } from "vitest";
import { createLocalHub, type LocalHub } from "../../src/demo/local-hub.ts";
import type { HubEnvironment } from "../../src/fetch/environment.ts";
import { createHubSession, type HubSession } from "../../src/fetch/hub-session.ts";
import { COMMIT, CONTENT, environmentFor, QUICK, REPO, WEIGHTS } from "../support/fetch-hub.ts";
import { startForwardProxy } from "../support/forward-proxy.ts";
import { startTlsFront } from "../support/tls-front.ts";

function openHub(): Promise<LocalHub> {
	const files = new Map([
		["config.json", Buffer.from("{}")],
		[WEIGHTS, CONTENT],
	]);
	return createLocalHub({ repos: [{ id: REPO, commit: COMMIT, files }] });
}

function openSession(endpoint: string, environment: Partial<HubEnvironment>): HubSession {
	return createHubSession(environmentFor(endpoint, environment), {
		connections: 2,
		timeouts: QUICK,
	});
}

async function readConfig(session: HubSession): Promise<string> {
	return Buffer.from(await session.readFile(REPO, COMMIT, "config.json", 100)).toString();
}

test("a certificate is trusted when the environment names it, also through a proxy", async () => {
	await using hub = await openHub();
	await using front = await startTlsFront(hub.endpoint);
	await using proxy = await startForwardProxy();
	const { ca } = front;
	await using direct = openSession(front.url, { ca });
	expect(await readConfig(direct)).toBe("{}");
	expect(proxy.tunnels).toEqual([]);
	const httpsProxy = { httpProxy: "", httpsProxy: proxy.url, noProxy: "" };
	await using proxied = openSession(front.url, { ca, proxy: httpsProxy });
	expect(await readConfig(proxied)).toBe("{}");
	expect(new Set(proxy.tunnels)).toEqual(new Set([new URL(front.url).host]));
});

test("a certificate that nobody trusts is refused at once, with the way out", async () => {
	await using hub = await openHub();
	await using front = await startTlsFront(hub.endpoint);
	await using session = openSession(front.url, {});
	const work = session.pin(REPO, "main");
	await expect(work).rejects.toMatchObject({
		code: "NETWORK_FAILED",
		retryable: false,
		hint: expect.stringContaining("SSL_CERT_FILE"),
	});
	expect(hub.requests).toEqual([]);
});

test("a redirect from https to http is not followed", async () => {
	await using hub = await openHub();
	await using front = await startTlsFront(hub.endpoint);
	await using session = openSession(front.url, { ca: front.ca, token: "secret" });
	const files = new Map([[WEIGHTS, { bytes: CONTENT.length }]]);
	await using source = session.byteSource(REPO, COMMIT, files);
	const range = source.readInto({ file: WEIGHTS, start: 0, end: 1 }, new Uint8Array(1));
	const refused = { code: "HTTP_STATUS", message: expect.stringContaining("from https to http") };
	await expect(range).rejects.toMatchObject(refused);
	const whole = session.readFile(REPO, COMMIT, WEIGHTS, CONTENT.length);
	await expect(whole).rejects.toMatchObject(refused);
	expect(hub.requests.filter(({ origin }) => origin === "cdn")).toEqual([]);
});
