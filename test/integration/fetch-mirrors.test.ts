import { describe, expect, test } from "vitest";
import type { Intercept } from "../../src/demo/local-hub.ts";
import { createHubSession } from "../../src/fetch/hub-session.ts";
import {
	COMMIT,
	CONTENT,
	CONTENT_BYTES,
	environmentFor,
	fastClock,
	QUICK,
	REPO,
	setStage,
	type Stage,
	WEIGHTS,
} from "../support/fetch-hub.ts";

/** Answers of `/resolve` of a server that keeps the files itself: no redirect, and none of the Hub's own headers. */
const plainServer: Intercept = ({ record, request, response }, next) => {
	if (!record.path.includes("/resolve/")) return next();
	const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(record.range ?? "") ?? [];
	const [start, end] =
		first === undefined ? [0, CONTENT.length] : [Number(first), Number(last) + 1];
	const range = { "Content-Range": `bytes ${start}-${end - 1}/${CONTENT.length}` };
	response.writeHead(first === undefined ? 200 : 206, {
		"Content-Length": end - start,
		...(first === undefined ? {} : range),
	});
	response.end(request.method === "HEAD" ? undefined : CONTENT.subarray(start, end));
};

/** Refuses every HEAD. */
function withoutHead(status: number, others: Intercept): Intercept {
	return (call, next) => {
		if (call.record.method === "HEAD") call.response.writeHead(status).end();
		else others(call, next);
	};
}

const asUsual: Intercept = (_, next) => next();

function retries(stage: Stage): number {
	return stage.events.filter(({ kind }) => kind === "retry").length;
}

describe("a mirror", () => {
	const cases: readonly [name: string, intercept: Intercept, counts: object][] = [
		["that keeps the files itself", plainServer, { "hub HEAD": 1, "hub GET": 2 }],
		[
			"that keeps the files itself and answers no HEAD",
			withoutHead(405, plainServer),
			{ "hub HEAD": 1, "hub GET": 3 },
		],
		[
			"that redirects and knows no HEAD",
			withoutHead(501, asUsual),
			{ "hub HEAD": 1, "hub GET": 1, "cdn GET": 2 },
		],
	];
	test.each(cases)("%s", async (_, intercept, counts) => {
		await using stage = await setStage({ intercept });
		expect(await stage.read(1000, 2000)).toEqual(CONTENT.slice(1000, 2000));
		expect(CONTENT_BYTES.equals(await stage.read())).toBe(true);
		expect(stage.counts()).toEqual(counts);
		expect(retries(stage)).toBe(0);
	});

	test("that redirects without a word about the file", async () => {
		await using stage = await setStage({
			intercept: ({ response }, next) => {
				const writeHead = response.writeHead.bind(response);
				response.writeHead = ((code: number, own: Record<string, string>) => {
					const { "X-Linked-Size": _, "X-Linked-ETag": __, ...rest } = own;
					return writeHead(code, rest);
				}) as typeof response.writeHead;
				next();
			},
		});
		expect(CONTENT_BYTES.equals(await stage.read())).toBe(true);
		// It may be another Hub that is asked next, so the CDN is asked for its headers first.
		expect(stage.counts()).toEqual({ "hub HEAD": 1, "cdn HEAD": 1, "cdn GET": 1 });
	});

	test("that lies below a path of its server", async () => {
		const prefix = /^\/hf(?=\/)/;
		const outside: string[] = [];
		await using stage = await setStage({
			intercept: ({ record, request }, next) => {
				const url = request.url ?? "";
				if (record.origin === "hub" && !prefix.test(url)) outside.push(record.path);
				request.url = url.replace(prefix, "");
				next();
			},
		});
		const environment = environmentFor(`${stage.hub.endpoint}/hf`);
		await using session = createHubSession(environment, { connections: 2, timeouts: QUICK });
		const { commit } = await session.pin(REPO, "main");
		expect(commit).toBe(COMMIT);
		const listed = await session.list(REPO, commit);
		expect(listed.map(({ path }) => path)).toEqual(["config.json", WEIGHTS]);
		const source = session.byteSource(REPO, commit, new Map(listed.map((f) => [f.path, f])));
		const into = new Uint8Array(10);
		await source.readInto({ file: WEIGHTS, start: 0, end: 10 }, into);
		expect(into).toEqual(CONTENT.slice(0, 10));
		expect(outside).toEqual([]);
	});
});

test("a model without an owner", async () => {
	await using stage = await setStage({
		intercept: ({ request }, next) => {
			request.url = (request.url ?? "").replace(/\/gpt2(?=\/)/, `/${REPO}`);
			next();
		},
	});
	expect(await stage.session.pin("gpt2", "main")).toEqual({ commit: COMMIT });
	const files = new Map((await stage.session.list("gpt2", COMMIT)).map((f) => [f.path, f]));
	expect(await stage.session.readFile("gpt2", COMMIT, "config.json", 100)).toHaveLength(22);
	const into = new Uint8Array(10);
	const source = stage.session.byteSource("gpt2", COMMIT, files);
	await source.readInto({ file: WEIGHTS, start: 5, end: 15 }, into);
	expect(into).toEqual(CONTENT.slice(5, 15));
});

test("a page of the listing on another server is asked for without the token", async () => {
	await using other = await setStage();
	let pages = 0;
	await using stage = await setStage({
		environment: { token: "secret" },
		intercept: ({ record, request, response }, next) => {
			if (!record.path.includes("/tree/") || pages++ > 0) return next();
			response.writeHead(200, { Link: `<${other.hub.endpoint}${request.url}>; rel="next"` });
			response.end("[]");
		},
	});
	expect(await stage.session.list(REPO, COMMIT)).toHaveLength(2);
	expect(other.hub.requests.map(({ hasAuthorization }) => hasAuthorization)).toEqual([false]);
});

test("a used-up limit of the API holds back the API, and no file", async () => {
	const clock = fastClock();
	const limited = { RateLimit: '"api";r=0;t=120', "Content-Type": "text/html" };
	let isFirst = true;
	const timeouts = { ...QUICK, slowBytesPerSecond: 0, slowWindowMs: 0.5, retries: 0 };
	await using stage = await setStage({
		session: { clock, timeouts },
		intercept: ({ response }, next) => {
			if (!isFirst) return next();
			isFirst = false;
			response.writeHead(429, limited).end("<!doctype html>");
		},
	});
	await expect(stage.session.pin(REPO, "main")).rejects.toMatchObject({
		code: "HUB_RATE_LIMITED",
		message: expect.stringContaining('the "api" rate limit') as string,
	});
	expect(await stage.read(0, 10)).toEqual(CONTENT.slice(0, 10));
	expect(Math.max(...clock.waits)).toBeLessThan(1000);
	expect(await stage.session.pin(REPO, "main")).toEqual({ commit: COMMIT });
	expect(Math.max(...clock.waits)).toBeGreaterThan(120_000);
});
