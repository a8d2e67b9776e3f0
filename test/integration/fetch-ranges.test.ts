import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { open, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent } from "undici";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/fetch/clock.ts";
import { exchange } from "../../src/fetch/exchange.ts";
import {
	CONTENT,
	CONTENT_BYTES,
	fastClock,
	noise,
	QUICK,
	setStage,
	WEIGHTS,
} from "../support/fetch-hub.ts";

describe("ranges of a healthy Hub", () => {
	test("one question to the Hub serves every range, and the token stays with the Hub", async () => {
		await using stage = await setStage({ environment: { token: "secret" } });
		const step = 20_000;
		const starts = Array.from({ length: 15 }, (_, index) => index * step);
		const parts = await Promise.all(starts.map((start) => stage.read(start, start + step)));
		expect(CONTENT_BYTES.equals(Buffer.concat(parts))).toBe(true);
		expect(stage.counts()).toEqual({ "hub HEAD": 1, "cdn GET": 15 });
		for (const { origin, hasAuthorization } of stage.hub.requests) {
			expect(hasAuthorization).toBe(origin === "hub");
		}
	});

	test("the token is not sent to another port of the same host", async () => {
		await using stage = await setStage({
			environment: { token: "secret" },
			cdnHost: "localhost",
		});
		expect(new URL(stage.hub.cdnOrigin).hostname).toBe(new URL(stage.hub.endpoint).hostname);
		expect(CONTENT_BYTES.equals(await stage.read())).toBe(true);
		const cdn = stage.hub.requests.filter(({ origin }) => origin === "cdn");
		expect(cdn.map(({ hasAuthorization }) => hasAuthorization)).toEqual([false]);
	});

	test("exactly the bytes asked for are requested and sent, and both are told", async () => {
		await using stage = await setStage();
		await stage.read(1000, 5000);
		await stage.read(7, 8);
		const cdn = stage.hub.requests.filter(({ origin }) => origin === "cdn");
		expect(cdn.map(({ range, bytes }) => [range, bytes])).toEqual([
			["bytes=1000-4999", 4000],
			["bytes=7-7", 1],
		]);
		expect(stage.events.filter(({ kind }) => kind === "request")).toEqual([
			{ kind: "request", range: { file: WEIGHTS, start: 1000, end: 5000 }, attempt: 1 },
			{ kind: "request", range: { file: WEIGHTS, start: 7, end: 8 }, attempt: 1 },
		]);
		expect(stage.events.at(-1)).toEqual({ kind: "received", bytes: 4001 });
	});

	test("an empty range asks nothing", async () => {
		await using stage = await setStage();
		expect(await stage.read(5, 5)).toEqual(new Uint8Array());
		expect(stage.hub.requests).toEqual([]);
	});

	test("never more connections than allowed", async () => {
		let running = 0;
		let most = 0;
		const held: (() => void)[] = [];
		await using stage = await setStage({
			session: { connections: 2 },
			intercept: ({ record, response }, next) => {
				if (record.origin === "hub") return next();
				most = Math.max(most, ++running);
				response.once("close", () => running--);
				held.push(next);
				// Two at a time, so that a third would be seen.
				if (held.length === 2) setTimeout(() => held.splice(0).forEach((go) => go()), 10);
			},
		});
		await Promise.all(Array.from({ length: 8 }, (_, index) => stage.read(index, index + 1000)));
		expect(most).toBe(2);
	});

	test("a file that the Hub serves itself, behind a redirect inside the Hub, keeps the token", async () => {
		await using stage = await setStage({ environment: { token: "secret" } });
		const bytes = '{"model_type":"llama"}'.length;
		const source = stage.session.byteSource(
			"org/model",
			stage.commit,
			new Map([["config.json", { bytes }]]),
		);
		const into = new Uint8Array(4);
		await source.readInto({ file: "config.json", start: 2, end: 6 }, into);
		expect(Buffer.from(into).toString()).toBe("mode");
		expect(stage.counts()).toEqual({ "hub HEAD": 2, "hub GET": 1 });
		expect(stage.hub.requests.every(({ hasAuthorization }) => hasAuthorization)).toBe(true);
	});

	test("nothing waits any more when a read is over", async () => {
		const waits: (AbortSignal | undefined)[] = [];
		const clock = {
			...systemClock,
			wait: (ms: number, signal?: AbortSignal) => {
				waits.push(signal);
				return systemClock.wait(ms, signal);
			},
		};
		await using stage = await setStage({ session: { clock } });
		await stage.read(0, 10);
		expect(waits.length).toBeGreaterThan(0);
		expect(waits.map((signal) => signal?.aborted)).not.toContain(false);
	});

	test("an answer of which the head is enough is cut", async () => {
		// A body that never ends: the promise below settles only because the client hangs up.
		const server = createServer((_, response) => {
			response.writeHead(200, { "Content-Length": 10 ** 9 }).write("x");
			response.once("close", () => server.close());
		});
		const closed = once(server, "close");
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		const { port } = server.address() as AddressInfo;
		const carrier = {
			agent: new Agent(),
			clock: systemClock,
			timeouts: { slowWindowMs: 60_000, slowBytesPerSecond: 0 },
		};
		const url = `http://127.0.0.1:${port}/`;
		const request = { method: "GET", url, headers: {}, stallMs: 30_000 } as const;
		const { status } = await exchange(carrier, request, () => undefined);
		expect(status).toBe(200);
		await closed;
		await carrier.agent.close();
	});

	test("offsets beyond 2^32", async () => {
		const directory = await mkdtemp(join(tmpdir(), "hf-stream-dcp-sparse-"));
		try {
			const diskPath = join(directory, WEIGHTS);
			const bytes = 5 * 2 ** 30;
			const at = 2 ** 32 - 500;
			await using handle = await open(diskPath, "w");
			await handle.truncate(bytes);
			await handle.write(CONTENT, 0, 1000, at);
			const files = new Map([[WEIGHTS, { diskPath, sha256: "a".repeat(64) }]]);
			await using stage = await setStage({ repo: { files }, bytes });
			expect(await stage.read(at, at + 1000)).toEqual(CONTENT.slice(0, 1000));
			expect(await stage.read(bytes - 3, bytes)).toEqual(new Uint8Array(3));
			expect(stage.hub.requests.at(-1)?.range).toBe(`bytes=${bytes - 3}-${bytes - 1}`);
		} finally {
			await rm(directory, { recursive: true });
		}
	});

	test("large answers arrive whole and in order over few connections", async () => {
		const content = noise(8 * 2 ** 20);
		const files = new Map([[WEIGHTS, content]]);
		await using stage = await setStage({ repo: { files }, bytes: content.length });
		const half = content.length / 2;
		const parts = await Promise.all([stage.read(0, half), stage.read(half)]);
		expect(Buffer.concat(parts).equals(content)).toBe(true);
	});
});

describe("signed URLs", () => {
	test("a Hub that binds every URL to one range is asked for each range", async () => {
		await using stage = await setStage({ rangeBinding: "always" });
		expect(await stage.read(0, 1000)).toEqual(CONTENT.slice(0, 1000));
		expect(await stage.read(1000, 3000)).toEqual(CONTENT.slice(1000, 3000));
		const asked = stage.hub.requests.map(({ origin, method, range, status }) =>
			[origin, method, range, status].join(" "),
		);
		expect(asked).toEqual([
			"hub HEAD  302",
			"cdn GET bytes=0-999 403",
			"hub GET bytes=0-999 302",
			"cdn GET bytes=0-999 206",
			"hub GET bytes=1000-2999 302",
			"cdn GET bytes=1000-2999 206",
		]);
	});

	test.each(["when-ranged", "never"] as const)(
		"binding %s: one URL serves all",
		async (binding) => {
			await using stage = await setStage({ rangeBinding: binding });
			expect(await stage.read(0, 1000)).toEqual(CONTENT.slice(0, 1000));
			expect(await stage.read(5, 25)).toEqual(CONTENT.slice(5, 25));
			expect(stage.counts()).toEqual({ "hub HEAD": 1, "cdn GET": 2 });
		},
	);

	test("a URL that expires in the middle of the run is renewed", async () => {
		let ahead = 0;
		await using stage = await setStage({ now: () => Date.now() + ahead });
		expect(await stage.read(0, 1000)).toEqual(CONTENT.slice(0, 1000));
		ahead = 3601_000;
		const parts = await Promise.all([stage.read(1000, 2000), stage.read(2000, 3000)]);
		expect(Buffer.concat(parts)).toEqual(Buffer.from(CONTENT.slice(1000, 3000)));
		expect(stage.counts()["hub HEAD"]).toBe(2);
	});

	test("a URL is renewed after 50 minutes, before it expires", async () => {
		const clock = fastClock();
		const timeouts = { ...QUICK, slowBytesPerSecond: 0, slowWindowMs: 1 };
		await using stage = await setStage({ session: { clock, timeouts } });
		await stage.read(0, 10);
		clock.advance(49 * 60_000);
		await stage.read(0, 10);
		expect(stage.counts()["hub HEAD"]).toBe(1);
		clock.advance(60_001);
		await stage.read(0, 10);
		expect(stage.counts()["hub HEAD"]).toBe(2);
		expect(stage.hub.requests.map(({ status }) => status)).not.toContain(403);
	});

	test("a shorter life of the URL brings the renewal forward", async () => {
		const clock = fastClock();
		const timeouts = { ...QUICK, slowBytesPerSecond: 0, slowWindowMs: 1 };
		await using stage = await setStage({ urlLifeSeconds: 60, session: { clock, timeouts } });
		await stage.read(0, 10);
		clock.advance(51_000);
		await stage.read(0, 10);
		expect(stage.counts()["hub HEAD"]).toBe(2);
	});
});
