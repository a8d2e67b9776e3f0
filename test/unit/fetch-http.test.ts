import { describe, expect, test } from "vitest";
import { HfStreamDcpError } from "../../src/core/errors.ts";
import { abortable, systemClock } from "../../src/fetch/clock.ts";
import { hubError, networkError, statusError, withoutQuery } from "../../src/fetch/http-errors.ts";
import { redirectTarget } from "../../src/fetch/hub-client.ts";
import { createRateGate } from "../../src/fetch/rate-gate.ts";
import { parseRetryAfterMs } from "../../src/fetch/rate-limit.ts";
import { resolveUrl, usableMs } from "../../src/fetch/resolve.ts";
import { retry, type RetryOptions } from "../../src/fetch/retry.ts";
import { watchThroughput } from "../../src/fetch/watchdog.ts";
import { fastClock } from "../support/fetch-hub.ts";

function head(status: number, headers: Record<string, string> = {}, url = "https://hub.test/a") {
	return { url, status, headers: new Headers(headers) };
}

describe("how long to stay away", () => {
	const date = "Tue, 24 Nov 2026 10:00:00 GMT";
	test.each<[Record<string, string>, number | undefined]>([
		[{}, undefined],
		[{ ratelimit: '"resolvers";r=0;t=87' }, 88_000],
		[{ ratelimit: '"api"; r=0; t=0' }, 1000],
		// The header is on every answer; something left means that it is not the reason.
		[{ ratelimit: '"api";r=10;t=87' }, undefined],
		[{ ratelimit: '"api";r=10;t=87', "retry-after": "3" }, 3000],
		[{ "retry-after": "0" }, 0],
		[{ "retry-after": "Tue, 24 Nov 2026 10:00:05 GMT", date }, 5000],
		[{ "retry-after": "Tue, 24 Nov 2026 09:00:00 GMT", date }, 0],
		[{ "retry-after": "soon" }, undefined],
		// Nobody keeps us away for a day.
		[{ "retry-after": "86400" }, 900_000],
	])("%o", (headers, ms) => {
		expect(parseRetryAfterMs(new Headers(headers))).toBe(ms);
	});
});

test("the rate gate holds one bucket, for as long as the longest closing says", async () => {
	const clock = fastClock();
	// A clock that nothing but waiting moves.
	const now = (): number => clock.waits.reduce((sum, ms) => sum + ms, 0);
	const gate = createRateGate({ ...clock, now });
	gate.close("api", 5000);
	gate.close("api", 1000);
	await gate.pass("resolvers");
	expect(clock.waits).toEqual([]);
	await gate.pass("api");
	expect(clock.waits).toEqual([5000]);
	await expect((gate.close("api", 5000), gate.pass("api", AbortSignal.abort("stop")))).rejects.toBe(
		"stop",
	);
});

describe("redirects", () => {
	const location = "https://cdn.test/x?Policy=a'b~c%2f&Signature=Zz";
	test.each([
		["an absolute address is kept as it is spelled", location, location],
		["a relative one is resolved", "/b?c=d", "https://hub.test/b?c=d"],
		["a relative one without a scheme", "//other.test/b", "https://other.test/b"],
	])("%s", (_, from, to) => {
		expect(redirectTarget(head(302, { location: from }))).toBe(to);
	});
	test.each([200, 206, 304])("%d is none", (status) => {
		expect(redirectTarget(head(status, { location }))).toBeUndefined();
	});
	test.each([
		["from https to http", "http://cdn.test/x"],
		["to another protocol", "ftp://cdn.test/x"],
		["to nowhere", ""],
	])("%s: refused", (_, to) => {
		expect(() => redirectTarget(head(302, { location: to }))).toThrow(/not followed/);
	});
});

describe("the life of a signed URL", () => {
	const date = "Tue, 24 Nov 2026 10:00:00 GMT";
	const at = Date.parse(date) / 1000;
	test.each([
		["an hour: 50 minutes of it", `https://cdn/x?Expires=${at + 3600}`, 3_000_000],
		["a minute: 50 seconds of it", `https://cdn/x?Expires=${at + 60}`, 50_000],
		["a day: no longer than the limit", `https://cdn/x?Expires=${at + 86_400}`, 3_000_000],
		["unknown: the limit", "https://cdn/x", 3_000_000],
		["a clock that cannot be: the limit", `https://cdn/x?Expires=${at - 5}`, 3_000_000],
	])("%s", (_, url, ms) => {
		expect(usableMs(url, new Headers({ date }), 3_000_000)).toBe(ms);
	});
});

test("names of files and revisions are encoded in addresses", () => {
	expect(resolveUrl("https://hub.test/base", "o/m", "refs/pr/1", "a b/c#d?.json")).toBe(
		"https://hub.test/base/o/m/resolve/refs%2Fpr%2F1/a%20b/c%23d%3F.json",
	);
});

describe("the Hub's answers as errors", () => {
	const anonymous = { repo: "o/m", hasToken: false };
	const withFile = { repo: "o/m", revision: "main", file: "f", hasToken: true };
	test.each([
		[401, { "x-error-code": "RepoNotFound" }, "", anonymous, "HUB_NOT_FOUND", "repo"],
		[401, {}, "", anonymous, "HUB_NOT_FOUND", "repo"],
		[404, {}, "", anonymous, "HUB_NOT_FOUND", "repo"],
		[404, {}, "", withFile, "HUB_NOT_FOUND", "file"],
		[404, { "x-error-code": "EntryNotFound" }, "", withFile, "HUB_NOT_FOUND", "file"],
		[404, { "x-error-code": "RevisionNotFound" }, "", withFile, "HUB_NOT_FOUND", "revision"],
		[401, { "x-error-code": "GatedRepo" }, "", anonymous, "HUB_GATED", undefined],
		[403, { "x-error-code": "GatedRepo" }, "", withFile, "HUB_GATED", undefined],
		[
			401,
			{},
			'{"error":"Invalid credentials in Authorization header"}',
			withFile,
			"HUB_UNAUTHORIZED",
			undefined,
		],
		[
			401,
			{
				"x-error-code": "RepoNotFound",
				"x-error-message": "Invalid credentials in Authorization header",
			},
			"",
			withFile,
			"HUB_UNAUTHORIZED",
			undefined,
		],
		[403, {}, "no", withFile, "HUB_UNAUTHORIZED", undefined],
		[429, { ratelimit: '"api";r=0;t=1' }, "<html>", withFile, "HUB_RATE_LIMITED", undefined],
		[500, {}, "", withFile, "HTTP_STATUS", undefined],
	])("%d %o %s", (status, headers, body, subject, code, what) => {
		const error = hubError(head(status, headers), body, subject);
		expect([error.code, error.facts["what"]]).toEqual([code, what]);
		expect(error.retryable).toBe(status === 429 || status === 500);
		expect(error.hint).toMatch(/^[A-Z].*\.$/);
	});

	test.each([
		[408, true],
		[418, false],
		[500, true],
		[501, false],
		[503, true],
		[520, true],
	])("a %d may pass: %s", (status, passes) => {
		const error = statusError(head(status), "", "f");
		expect(error.retryable).toBe(passes);
		expect(error.hint).toMatch(passes ? /again later/ : /HF_ENDPOINT/);
	});

	test("a text is quoted, a page is not", () => {
		expect(statusError(head(403), "Auth failed:\n expired", "f").message).toBe(
			"hub.test answered 403 for f: Auth failed: expired",
		);
		expect(statusError(head(502), "<!DOCTYPE html>", "f").message).toBe(
			"hub.test answered 502 for f",
		);
		expect(statusError(head(502), "<html>", "f").message).toBe("hub.test answered 502 for f");
	});

	test("a certificate that is not trusted is no passing fault", () => {
		const cause = Object.assign(new Error("self-signed"), { code: "SELF_SIGNED_CERT_IN_CHAIN" });
		const error = networkError(cause, "https://hub.test/a?Signature=s");
		expect(error).toMatchObject({ retryable: false, cause });
		expect(error.hint).toContain("SSL_CERT_FILE");
		expect(JSON.stringify(error.facts)).not.toContain("Signature");
		const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" });
		expect(networkError(reset, "https://hub.test/a").retryable).toBe(true);
	});

	test("signatures are cut off addresses", () => {
		expect(withoutQuery("https://a/b?c=d#e")).toBe("https://a/b");
	});
});

describe("retry", () => {
	const timeouts = { retries: 3, backoffMs: 100, backoffLimitMs: 300 };
	const transient = new HfStreamDcpError("NETWORK_FAILED", "cut", { retryable: true });

	function options(more: Partial<RetryOptions> = {}): RetryOptions & {
		readonly clock: ReturnType<typeof fastClock>;
	} {
		return { what: "f", timeouts, emit: () => {}, ...more, clock: fastClock() };
	}

	test("waits longer each time, up to the limit, then gives up", async () => {
		const given = options();
		await expect(retry(given, () => Promise.reject(transient))).rejects.toMatchObject({
			code: "NETWORK_FAILED",
			message: "cut (gave up after 4 tries)",
		});
		expect(given.clock.waits).toEqual([100, 200, 300]);
	});

	test("jitter takes up to half of a delay away", async () => {
		const given = options();
		const clock = { ...given.clock, random: () => 0 };
		await retry({ ...given, clock }, () => Promise.reject(transient)).catch(() => {});
		expect(given.clock.waits).toEqual([50, 100, 150]);
	});

	test("starts counting again after progress", async () => {
		let reached = 0;
		const given = options({ progress: () => reached });
		const done = await retry(given, (number) => {
			if (number === 20) return Promise.resolve("done");
			if (number % 3 === 0) reached++;
			return Promise.reject(transient);
		});
		expect(done).toBe("done");
		expect(new Set(given.clock.waits)).toEqual(new Set([100, 200, 300]));
	});

	test("counts slowness whatever arrived", async () => {
		let reached = 0;
		const facts = { tooSlow: true };
		const slow = new HfStreamDcpError("NETWORK_FAILED", "slow", { retryable: true, facts });
		const work = retry(options({ progress: () => reached++ }), () => Promise.reject(slow));
		await expect(work).rejects.toThrow("gave up after 4 tries");
	});

	test("does what the answer asks for", async () => {
		const facts = { retryAfterMs: 88_000 };
		const busy = new HfStreamDcpError("HUB_RATE_LIMITED", "429", { retryable: true, facts });
		const given = options();
		await retry(given, (number) => (number === 1 ? Promise.reject(busy) : Promise.resolve()));
		expect(given.clock.waits).toEqual([88_000]);
	});

	test("backs off from a server that asks for no delay", async () => {
		const facts = { retryAfterMs: 0 };
		const down = new HfStreamDcpError("HTTP_STATUS", "503", { retryable: true, facts });
		const given = options();
		await expect(retry(given, () => Promise.reject(down))).rejects.toThrow("gave up");
		expect(given.clock.waits).toEqual([100, 200, 300]);
	});

	test.each([new HfStreamDcpError("HUB_GATED", "gated"), new Error("a bug")])(
		"leaves %s alone",
		async (fault) => {
			const given = options();
			await expect(retry(given, () => Promise.reject(fault))).rejects.toBe(fault);
			expect(given.clock.waits).toEqual([]);
		},
	);

	test("an abort wins over the error it caused", async () => {
		const controller = new AbortController();
		const work = retry(options({ signal: controller.signal }), () => {
			controller.abort("stop");
			return Promise.reject(transient);
		});
		await expect(work).rejects.toBe("stop");
	});
});

/** Feeds one number of bytes per window and returns what the watch said. */
async function feed(windows: readonly number[]): Promise<number | undefined> {
	let received = 0;
	let turn = 0;
	return new Promise((resolve) => {
		const clock = {
			...fastClock(),
			wait: async (): Promise<void> => {
				if (turn === windows.length) {
					resolve(undefined);
					await new Promise(() => {});
				}
				received += windows[turn++]!;
			},
		};
		const limits = { windowMs: 2000, minBytesPerSecond: 50 };
		watchThroughput({ clock, ...limits, received: () => received, tooSlow: resolve });
	});
}

describe("the throughput watch", () => {
	test.each<[readonly number[], number | undefined]>([
		[[100, 100, 100], undefined],
		[[1000, 99], 99],
		[[0], 0],
		[[100, 100_000, 5, 1000], 5],
	])("%o bytes in windows that need 100: %o", async (windows, said) => {
		expect(await feed(windows)).toBe(said);
	});

	test("is silent once stopped", async () => {
		let said = false;
		const stop = watchThroughput({
			clock: systemClock,
			windowMs: 5,
			minBytesPerSecond: 1,
			received: () => 0,
			tooSlow: () => (said = true),
		});
		stop();
		await systemClock.wait(15);
		expect(said).toBe(false);
	});
});

describe("waiting", () => {
	test("ends with the reason of an abort, before, during or not at all", async () => {
		const controller = new AbortController();
		const wait = systemClock.wait(60_000, controller.signal);
		controller.abort("stop");
		await expect(wait).rejects.toBe("stop");
		await expect(systemClock.wait(60_000, controller.signal)).rejects.toBe("stop");
		await systemClock.wait(1, new AbortController().signal);
	});

	test("work is undone exactly once, also when it settles while it is started", async () => {
		let undone = 0;
		const undo = (): void => void undone++;
		const now = abortable<number>(undefined, (resolve) => {
			resolve(1);
			resolve(2);
			return undo;
		});
		expect(await now).toBe(1);
		expect(undone).toBe(1);
	});
});
