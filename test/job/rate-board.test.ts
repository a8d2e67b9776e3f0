import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RateBoard, RateLimit } from "../../src/core/rate-board.ts";
import type { Intercept } from "../../src/demo/local-hub.ts";
import { createRateGate } from "../../src/fetch/rate-gate.ts";
import { createRateBoard } from "../../src/job/rate-board.ts";
import { fastClock, QUICK, setStage } from "../support/fetch-hub.ts";

const LIMIT: RateLimit = { host: "huggingface.co", bucket: "resolvers" };
const NOW = 1_800_000_000_000;

let state: string;
/** What the boards of a test lie in; made by the first that needs it. */
let directory: string;
beforeEach(async () => {
	state = await mkdtemp(join(tmpdir(), "hf-stream-dcp-limits-"));
	directory = join(state, "limits");
});
afterEach(() => rm(state, { recursive: true, force: true }));

function boardAt(ms: number): RateBoard {
	return createRateBoard(directory, () => NOW + ms);
}

describe("a board in a directory", () => {
	test("tells every other what was posted, until the time is over", async () => {
		expect(await boardAt(0).closedMs(LIMIT)).toBe(0);
		await boardAt(0).close(LIMIT, 88_000);
		expect(await boardAt(0).closedMs(LIMIT)).toBe(88_000);
		expect(await boardAt(87_000).closedMs(LIMIT)).toBe(1000);
		expect(await boardAt(88_001).closedMs(LIMIT)).toBe(0);
	});

	test("keeps limits and hosts apart", async () => {
		await boardAt(0).close(LIMIT, 88_000);
		expect(await boardAt(0).closedMs({ ...LIMIT, bucket: "api" })).toBe(0);
		expect(await boardAt(0).closedMs({ ...LIMIT, host: "localhost:8080" })).toBe(0);
		await boardAt(0).close({ ...LIMIT, host: "localhost:8080" }, 5000);
		expect(await boardAt(0).closedMs({ ...LIMIT, host: "localhost:8081" })).toBe(0);
		expect(await boardAt(0).closedMs(LIMIT)).toBe(88_000);
	});

	test("prolongs, and never shortens", async () => {
		await boardAt(0).close(LIMIT, 88_000);
		await boardAt(0).close(LIMIT, 3000);
		expect(await boardAt(0).closedMs(LIMIT)).toBe(88_000);
		await boardAt(1000).close(LIMIT, 90_000);
		expect(await boardAt(1000).closedMs(LIMIT)).toBe(90_000);
	});

	test("leaves one small file for each limit, whoever posts at the same time", async () => {
		const posts = Array.from({ length: 50 }, (_, i) => boardAt(0).close(LIMIT, 60_000 + i * 2000));
		await Promise.all(posts);
		expect(await readdir(directory)).toEqual(["resolvers@huggingface.co"]);
		const text = await readFile(join(directory, "resolvers@huggingface.co"), "utf8");
		expect(text).toMatch(/^used up until 1800000\d{6}\n$/);
	});

	test.each([
		["further ahead than any Hub makes one wait", `used up until ${NOW + 900_001}\n`],
		["of the past", `used up until ${NOW - 1}\n`],
		["that is no posting", "\u0000".repeat(30)],
		["that is cut off", `used up until ${NOW + 5000}`],
	])("says nothing of what is %s", async (_, content) => {
		await mkdir(directory);
		await writeFile(join(directory, "resolvers@huggingface.co"), content);
		expect(await boardAt(0).closedMs(LIMIT)).toBe(0);
		await boardAt(0).close(LIMIT, 7000);
		expect(await boardAt(0).closedMs(LIMIT)).toBe(7000);
	});

	test("says nothing when the directory is gone, and does not bring it back", async () => {
		const board = boardAt(0);
		await board.close(LIMIT, 5000);
		await rm(state, { recursive: true });
		expect(await board.closedMs(LIMIT)).toBe(0);
		await board.close(LIMIT, 5000);
		await expect(readdir(state)).rejects.toThrow("ENOENT");
	});

	test("says nothing when a file is where the directory should be", async () => {
		await writeFile(directory, "");
		await boardAt(0).close(LIMIT, 5000);
		expect(await boardAt(0).closedMs(LIMIT)).toBe(0);
	});
});

describe("a gate with a board", () => {
	/** Counts how often the board is looked at. */
	function counted(ms: number) {
		const looks: RateLimit[] = [];
		const board: RateBoard = {
			close: () => Promise.resolve(),
			closedMs: (limit) => {
				looks.push(limit);
				return Promise.resolve(ms);
			},
		};
		const limitOf = (bucket: string) =>
			bucket === "resolvers" ? { host: "hub.test", bucket } : undefined;
		return { looks, shared: { board, limitOf, onClosed: () => {} } };
	}

	test("looks at it twice a second at most, however many requests pass", async () => {
		const clock = { ...fastClock(), now: () => time };
		let time = 10_000;
		const { looks, shared } = counted(0);
		const gate = createRateGate(clock, shared);
		for (let i = 0; i < 100; i++) {
			await Promise.all([gate.pass("resolvers"), gate.pass("resolvers")]);
			time += 10;
		}
		expect(looks).toHaveLength(2);
	});

	test("never looks at it for what the Hub does not count", async () => {
		const { looks, shared } = counted(5000);
		const clock = fastClock();
		await createRateGate(clock, shared).pass("https://cdn.test");
		expect(looks).toEqual([]);
		expect(clock.waits).toEqual([]);
	});

	test("a look serves all requests that come while it lasts", async () => {
		const clock = fastClock();
		const { looks, shared } = counted(0);
		const gate = createRateGate(clock, shared);
		await Promise.all(Array.from({ length: 16 }, () => gate.pass("resolvers")));
		expect(looks).toHaveLength(1);
	});

	test("an abort ends a wait for a board that does not answer", async () => {
		const { shared } = counted(0);
		const board = { ...shared.board, closedMs: () => new Promise<number>(() => {}) };
		const gate = createRateGate(fastClock(), { ...shared, board });
		const controller = new AbortController();
		const passing = gate.pass("resolvers", controller.signal);
		controller.abort("stop");
		await expect(passing).rejects.toBe("stop");
	});

	test("takes no notice of a wait beyond reason", async () => {
		const clock = fastClock();
		await createRateGate(clock, counted(16 * 60_000).shared).pass("resolvers");
		expect(clock.waits).toEqual([]);
	});
});

describe("two sessions with one board", () => {
	const limited = { RateLimit: '"resolvers";r=0;t=87', "Content-Type": "text/html" };
	const timeouts = { ...QUICK, slowBytesPerSecond: 0, slowWindowMs: 0.5, retries: 3 };

	/** A session's clock, whose waits end at once, and a board that goes by it. */
	function timed() {
		const clock = fastClock();
		const board = createRateBoard(directory, () => NOW + clock.now());
		return { clock, board, timeouts };
	}
	/** Refuses the first request of `origin`. */
	function refuseOnce(origin: "hub" | "cdn", headers: Record<string, string>): Intercept {
		let refusals = 1;
		return ({ record, response }, next) => {
			if (record.origin !== origin || refusals-- <= 0) next();
			else response.writeHead(429, headers).end();
		};
	}
	const longest = (waits: readonly number[]): number => Math.max(0, ...waits);

	test("the second waits for what the first was told, and says so", async () => {
		const one = timed();
		await using first = await setStage({ session: one, intercept: refuseOnce("hub", limited) });
		await first.read(0, 10);
		const { endpoint } = first.hub;
		const { host } = new URL(endpoint);
		const two = timed();
		await using second = await setStage({ environment: { endpoint }, session: two });
		await second.session.pin("org/model", "main");
		expect(longest(two.clock.waits)).toBeLessThan(1000);
		await second.read(0, 10);
		const waiting = second.events.filter(({ kind }) => kind === "waiting");
		expect(waiting).toHaveLength(1);
		expect(waiting[0]).toMatchObject({
			reason: `the "resolvers" rate limit of ${host} is used up`,
			hint: expect.stringMatching(/^Signed-in users have a higher limit: set HF_TOKEN/),
		});
		expect(longest(two.clock.waits)).toBeGreaterThan(80_000);
		expect(longest(two.clock.waits)).toBeLessThan(91_000);
		// Its own wait is told of as a retry, and not a second time.
		expect(first.events.filter(({ kind }) => kind === "waiting")).toEqual([]);
	});

	test("with a token, a plan is what would raise the limit", async () => {
		await using stage = await setStage();
		const { endpoint } = stage.hub;
		await createRateBoard(directory, () => NOW).close(
			{ host: new URL(endpoint).host, bucket: "api" },
			600_000,
		);
		const environment = { endpoint, token: "hf_t" };
		await using other = await setStage({ environment, session: timed() });
		await other.session.pin("org/model", "main");
		expect(other.events).toMatchObject([
			{ kind: "waiting", hint: expect.stringContaining("paid plan") },
		]);
	});

	test("what a CDN says is not shared", async () => {
		await using stage = await setStage({
			session: timed(),
			intercept: refuseOnce("cdn", { "Retry-After": "5" }),
		});
		await stage.read(0, 10);
		const [name = "", ...others] = await readdir(directory);
		expect(others).toEqual([]);
		expect(name).toBe(`resolvers@${new URL(stage.hub.endpoint).host.replace(":", "+")}`);
		expect(await readFile(join(directory, name), "utf8")).toBe("");
	});
});
