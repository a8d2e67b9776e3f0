import { describe, expect, test } from "vitest";
import type { Intercept } from "../../src/demo/local-hub.ts";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { ErrorCode, HfStreamDcpError } from "../../src/core/errors.ts";
import {
	always,
	cutAfter,
	cutBeforeEnd,
	type Fault,
	gzipped,
	ignoreRange,
	inTurn,
	longChunked,
	rawHeader,
	resetAtOnce,
	shift,
	shortChunked,
	shortHonest,
	stallAfter,
	status,
	trickle,
} from "../support/faults.ts";
import {
	CONTENT,
	CONTENT_BYTES,
	fastClock,
	QUICK,
	setStage,
	type Stage,
} from "../support/fetch-hub.ts";

const START = 1000;
const END = CONTENT.length - 7;

/** Reads nearly all of the file and compares every byte. */
async function readAll(stage: Stage): Promise<boolean> {
	return CONTENT_BYTES.subarray(START, END).equals(await stage.read(START, END));
}

async function failure(work: Promise<unknown>, code: ErrorCode): Promise<HfStreamDcpError> {
	const error: unknown = await work.then(
		() => "no error",
		(reason: unknown) => reason,
	);
	if (!isHfStreamDcpError(error, code)) throw new Error(`not ${code}`, { cause: error });
	return error;
}

function retries(stage: Stage): number {
	return stage.events.filter(({ kind }) => kind === "retry").length;
}

/** From the second HEAD on, the Hub's answer has other headers. */
function changing(headers: Readonly<Record<string, string>>): Intercept {
	let heads = 0;
	return ({ record, response }, next) => {
		if (record.method === "HEAD" && ++heads > 1) {
			const writeHead = response.writeHead.bind(response);
			response.writeHead = ((code: number, own: object) =>
				writeHead(code, { ...own, ...headers })) as typeof response.writeHead;
		}
		if (record.origin === "cdn" && record.range === "bytes=0-0") {
			response.writeHead(403).end("Auth failed: expired");
		} else next();
	};
}

describe("a fault that passes leaves no trace in the bytes", () => {
	const slow = { slowWindowMs: 200, slowBytesPerSecond: 50_000 };
	const cases: readonly [name: string, faults: readonly Fault[], timeouts?: object][] = [
		["reset at byte 0", [resetAtOnce]],
		["cut before the first byte", [cutAfter(0)]],
		["cut in the middle: Content-Length lies", [cutAfter(150_000)]],
		["cut before the last byte", [cutBeforeEnd(1)]],
		["a whole answer for a range", [ignoreRange]],
		["a shifted Content-Range", [shift]],
		["a short body with honest Content-Length", [shortHonest]],
		// What the data plane leaves to undici is asked for again there, and meets the fault once more.
		["a short chunked body", [shortChunked, shortChunked]],
		["a chunked body that is too long", [longChunked, longChunked]],
		["a compressed answer", [gzipped]],
		["a 503 with an HTML page", [status(503, {}, "<!doctype html>")]],
		["a burst of 5xx", [status(500), status(502), status(503), status(504), status(500)]],
		["a 408", [status(408)]],
		["a 403 in the middle", [status(403, {}, "Auth failed: expired")]],
		["a header that is no Latin-1, and a 100 before", [rawHeader]],
		["a silence before the head", [() => {}], { stallMs: 300 }],
		["a silence in the middle", [stallAfter(100_000)], { stallMs: 300 }],
		["a trickle", [trickle], slow],
		["one after the other", [resetAtOnce, cutAfter(10), gzipped, cutAfter(5), ignoreRange]],
	];
	test.concurrent.each(cases)("%s", async (_, faults, timeouts = {}) => {
		await using stage = await setStage({
			intercept: inTurn(...faults),
			session: { timeouts: { ...QUICK, ...timeouts } },
		});
		expect(await readAll(stage)).toBe(true);
		const fallbacks = stage.events.filter(({ kind }) => kind === "fallback").length;
		const isUnusual = [rawHeader, shortChunked, longChunked].some((fault) =>
			faults.includes(fault),
		);
		expect(fallbacks).toBe(isUnusual ? 1 : 0);
		expect(retries(stage)).toBe(faults.length - fallbacks);
		const { bytes } = stage.events.findLast((event) => event.kind === "received")!;
		// Nothing twice, except what came before one byte too many showed that the answer was wrong.
		expect(bytes).toBe((END - START) * (faults.includes(longChunked) ? 2 : 1));
	});
});

describe("a cut", () => {
	test("is resumed where it happened", async () => {
		await using stage = await setStage({ intercept: inTurn(cutAfter(100_000)) });
		expect(await readAll(stage)).toBe(true);
		const ranges = stage.hub.requests.flatMap(({ range }) => range ?? []);
		expect(ranges).toEqual([`bytes=${START}-${END - 1}`, `bytes=${START + 100_000}-${END - 1}`]);
	});

	test("after progress does not count: ten of them with two retries", async () => {
		const cuts = Array.from({ length: 10 }, (_, index) => cutAfter(1000 + index));
		await using stage = await setStage({
			intercept: inTurn(...cuts),
			session: { timeouts: { ...QUICK, retries: 2 } },
		});
		expect(await readAll(stage)).toBe(true);
		expect(retries(stage)).toBe(10);
	});

	test("without progress counts: three with two retries are an error", async () => {
		await using stage = await setStage({
			intercept: always(resetAtOnce),
			session: { timeouts: { ...QUICK, retries: 2 } },
		});
		const error = await failure(stage.read(), "NETWORK_FAILED");
		expect(error.message).toMatch(
			/^connection to 127\.0\.0\.1:\d+ failed: .* \(gave up after 3 tries\)$/,
		);
		expect(error.retryable).toBe(true);
	});
});

describe("a fault that stays is a typed error", () => {
	const cases: readonly [name: string, fault: Fault, code: ErrorCode, requests: number][] = [
		["a whole answer for a range", ignoreRange, "RANGE_IGNORED", 2],
		["a shifted Content-Range", shift, "RANGE_MISMATCH", 2],
		["a short body with honest Content-Length", shortHonest, "RANGE_MISMATCH", 2],
		["a compressed answer", gzipped, "RANGE_MISMATCH", 2],
		["a 204", status(204), "RANGE_MISMATCH", 2],
		["a 403", status(403, {}, "SignatureDoesNotMatch"), "HTTP_STATUS", 4],
		["a 416", status(416), "HTTP_STATUS", 4],
		["a 500", status(500), "HTTP_STATUS", 4],
		["a 429", status(429), "HUB_RATE_LIMITED", 4],
	];
	test.each(cases)("%s", async (_, fault, code, requests) => {
		await using stage = await setStage({
			intercept: always(fault),
			session: { timeouts: { ...QUICK, retries: 3 } },
		});
		const error = await failure(stage.read(START, END), code);
		expect(stage.counts()["cdn GET"]).toBe(requests);
		// The message names the host; no message or fact shows the signature.
		expect(error.message).toContain(new URL(stage.hub.cdnOrigin).host);
		expect(JSON.stringify([error.message, error.facts])).not.toContain("Signature=");
	});

	test("a trickle, although bytes arrive", async () => {
		const timeouts = { ...QUICK, retries: 1, slowWindowMs: 100, slowBytesPerSecond: 50_000 };
		await using stage = await setStage({ intercept: always(trickle), session: { timeouts } });
		const error = await failure(stage.read(), "NETWORK_FAILED");
		expect(error.message).toMatch(/sent only \d+ bytes in 0\.1 s/);
	});

	test("a refusal is answered by new URLs, at last by one for just this range", async () => {
		await using stage = await setStage({ intercept: always(status(403)) });
		await failure(stage.read(0, 10), "HTTP_STATUS");
		const hub = stage.hub.requests.filter(({ origin }) => origin === "hub");
		expect(hub.map(({ method, range }) => [method, range])).toEqual([
			["HEAD", undefined],
			["HEAD", undefined],
			["GET", "bytes=0-9"],
			["GET", "bytes=0-9"],
		]);
	});

	test("a whole answer is cut at once, not received", async () => {
		const content = new Uint8Array(64 * 2 ** 20);
		const files = new Map([["model.safetensors", content]]);
		await using stage = await setStage({
			repo: { files },
			bytes: content.length,
			intercept: ({ record, request }, next) => {
				if (record.origin === "cdn") delete request.headers.range;
				next();
			},
			// The signature is for no range, which is what arrives.
			rangeBinding: "always",
		});
		await failure(stage.read(0, 10), "RANGE_IGNORED");
		expect(stage.events.some(({ kind }) => kind === "received")).toBe(false);
	});

	test("server errors make the Hub be asked for another URL after every second one", async () => {
		await using stage = await setStage({
			intercept: inTurn(status(500), status(500), status(500), status(500)),
		});
		expect(await readAll(stage)).toBe(true);
		expect(stage.counts()["hub HEAD"]).toBe(3);
	});
});

describe("a file that changes during the run", () => {
	test.each([
		["its hash", { "X-Linked-ETag": `"${"b".repeat(64)}"` }, "ETag"],
		["its size", { "X-Linked-Size": "5" }, "size"],
		["the commit", { "X-Repo-Commit": "d".repeat(40) }, "commit"],
	])("%s", async (_, headers, what) => {
		await using stage = await setStage({ intercept: changing(headers) });
		await stage.read(10, 20);
		const error = await failure(stage.read(0, 1), "SOURCE_CHANGED");
		expect(error.facts["what"]).toBe(what);
	});

	test("a file that the Hub serves itself", async () => {
		await using stage = await setStage({
			intercept: ({ record, response }, next) => {
				if (record.method !== "GET") return next();
				const own = { "Content-Length": 1, "Content-Range": "bytes 0-0/22" };
				response.writeHead(206, { ...own, ETag: '"another"' }).end("{");
			},
		});
		const source = stage.session.byteSource(
			"org/model",
			stage.commit,
			new Map([["config.json", { bytes: 22 }]]),
		);
		const range = { file: "config.json", start: 0, end: 1 };
		await failure(source.readInto(range, new Uint8Array(1)), "SOURCE_CHANGED");
	});

	test("a hash other than the listing's is found before any byte", async () => {
		await using stage = await setStage();
		const sha256 = "e".repeat(64);
		const files = new Map([["model.safetensors", { bytes: CONTENT.length, sha256 }]]);
		const source = stage.session.byteSource("org/model", stage.commit, files);
		const range = { file: "model.safetensors", start: 0, end: 1 };
		await failure(source.readInto(range, new Uint8Array(1)), "SOURCE_CHANGED");
		expect(stage.counts()).toEqual({ "hub HEAD": 1 });
	});
});

describe("rate limits", () => {
	const limited = { RateLimit: '"resolvers";r=0;t=87', "Content-Type": "text/html" };
	const clockOptions = { ...QUICK, slowBytesPerSecond: 0, slowWindowMs: 0.5, retries: 3 };

	test("a 429 with RateLimit alone is waited for, once for all requests", async () => {
		const clock = fastClock();
		let refusals = 2;
		await using stage = await setStage({
			session: { clock, timeouts: clockOptions },
			intercept: ({ record, response }, next) => {
				if (record.origin === "cdn" || refusals-- <= 0) next();
				else response.writeHead(429, limited).end();
			},
		});
		const parts = await Promise.all([stage.read(0, 10), stage.read(10, 20)]);
		expect(CONTENT_BYTES.subarray(0, 20).equals(Buffer.concat(parts))).toBe(true);
		const waits = clock.waits.filter((ms) => ms > 1000);
		expect(Math.max(...waits)).toBe(88_000);
		expect(clock.now() - performance.now()).toBeGreaterThan(2 * 88_000 - 1000);
		expect(stage.counts()["hub HEAD"]).toBe(3);
	});

	test("holds back a request that comes while the limit is used up", async () => {
		const clock = fastClock();
		let isFirst = true;
		await using stage = await setStage({
			session: { clock, timeouts: { ...clockOptions, retries: 0 } },
			intercept: ({ record, response }, next) => {
				if (record.origin === "cdn" || !isFirst) return next();
				isFirst = false;
				response.writeHead(429, limited).end();
			},
		});
		await failure(stage.read(0, 10), "HUB_RATE_LIMITED");
		expect(clock.waits.filter((ms) => ms > 1000)).toEqual([]);
		expect(await stage.read(0, 10)).toEqual(CONTENT.slice(0, 10));
		expect(Math.max(...clock.waits)).toBeGreaterThan(87_000);
	});

	test("an endless 429 says which limit and what to do", async () => {
		const clock = fastClock();
		await using stage = await setStage({
			session: { clock, timeouts: clockOptions },
			intercept: ({ response }) => response.writeHead(429, limited).end(),
		});
		const error = await failure(stage.read(), "HUB_RATE_LIMITED");
		expect(error.message).toMatch(
			/^the "resolvers" rate limit of localhost:\d+ is used up, free again in 88 s/,
		);
		expect(error.hint).toContain("HF_TOKEN");
	});
});

describe("abort", () => {
	const reason = new Error("enough");

	test.each([
		["while a body stalls", always(stallAfter(10)), {}],
		["while nothing answers", always(() => {}), {}],
		["during a backoff", always(status(500)), { backoffMs: 60_000, backoffLimitMs: 60_000 }],
		["while the Hub does not answer", () => {}, {}],
	])("%s", async (_, intercept, timeouts) => {
		const controller = new AbortController();
		let seen = 0;
		await using stage = await setStage({
			session: {
				connections: 1,
				timeouts: { ...QUICK, ...timeouts },
				onEvent: () => seen++,
			},
			intercept,
		});
		// The second one waits for the connection of the first.
		const reads = [0, 1].map((start) => stage.read(start, END, controller.signal));
		setTimeout(() => controller.abort(reason), 50);
		for (const read of reads) await expect(read).rejects.toBe(reason);
		const atAbort = seen;
		await new Promise((resolve) => setTimeout(resolve, 20));
		expect(seen).toBe(atAbort);
	});

	test("takes back a request that waits for a connection", async () => {
		const controller = new AbortController();
		let release = (): void => {};
		await using stage = await setStage({
			session: { connections: 1 },
			intercept: ({ record }, next) => {
				if (record.origin === "hub") return next();
				release = next;
				controller.abort(reason);
			},
		});
		const [first, waiting] = [stage.read(0, 10), stage.read(20, 30, controller.signal)];
		await expect(waiting).rejects.toBe(reason);
		release();
		expect(await first).toEqual(CONTENT.slice(0, 10));
		const third = stage.read(40, 50);
		await expect.poll(() => stage.counts()["cdn GET"]).toBe(2);
		release();
		await third;
		const ranges = stage.hub.requests.flatMap(({ range }) => range ?? []);
		expect(ranges).toEqual(["bytes=0-9", "bytes=40-49"]);
	});

	test("of one reader leaves the others their answer", async () => {
		const controller = new AbortController();
		await using stage = await setStage({
			intercept: ({ record }, next) => {
				if (record.origin === "hub") controller.abort(reason);
				next();
			},
		});
		const [aborted, other] = [stage.read(0, 10, controller.signal), stage.read(0, 10)];
		await expect(aborted).rejects.toBe(reason);
		expect(await other).toEqual(CONTENT.slice(0, 10));
		expect(stage.counts()["hub HEAD"]).toBe(1);
	});

	test("before the read asks nothing", async () => {
		await using stage = await setStage();
		await expect(stage.read(0, 10, AbortSignal.abort(reason))).rejects.toBe(reason);
		expect(stage.hub.requests).toEqual([]);
	});

	test("of the session, and closing it, end its reads", async () => {
		const controller = new AbortController();
		const intercept = always(stallAfter(10));
		await using stage = await setStage({ session: { signal: controller.signal }, intercept });
		const read = stage.read();
		setTimeout(() => controller.abort(reason), 20);
		await expect(read).rejects.toBe(reason);
		await using other = await setStage({ intercept });
		const second = other.read();
		setTimeout(() => void other.session[Symbol.asyncDispose](), 20);
		await expect(second).rejects.toThrow("the Hub session was closed");
	});
});
