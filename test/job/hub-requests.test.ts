import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import {
	createLocalHub,
	type Intercept,
	type LocalHub,
	type RequestRecord,
} from "../../src/demo/local-hub.ts";
import type { ProgressEvent } from "../../src/core/events.ts";
import { openJobSource } from "../../src/job/source-store.ts";
import { environmentFor } from "../support/fetch-hub.ts";
import { jsonFile, sha256Of, shard, weightsFile } from "../support/open-source-model.ts";
import { type SourceWorker, startSourceWorker } from "../support/source-worker.ts";

const REPO = "org/model";
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const SHARDS = 5;
const NAMES = Array.from({ length: SHARDS }, (_, i) => shard(i + 1, SHARDS));

/** Five shards with an index, a config and a file that nobody needs: eight entries of the listing. */
const MODEL: ReadonlyMap<string, Uint8Array> = new Map([
	["README.md", Buffer.from("# model\n")],
	["config.json", jsonFile({ model_type: "llama" })],
	[
		"model.safetensors.index.json",
		jsonFile({
			weight_map: Object.fromEntries(
				NAMES.flatMap((name, i) => [`a.${i}`, `b.${i}`].map((tensor) => [tensor, name])),
			),
		}),
	],
	...NAMES.map((name, i) => [name, weightsFile([`a.${i}`, `b.${i}`], 5000)] as const),
]);
const PAGE_ENTRIES = 3;
const LISTING_PAGES = Math.ceil(MODEL.size / PAGE_ENTRIES);
const SUMS = Object.fromEntries(NAMES.map((name) => [name, sha256Of(MODEL.get(name)!)]));

const CONVERT_PROGRAM = join(import.meta.dirname, "../support/convert-child.mjs");

/** What a worker says at its end. */
interface WorkerFacts {
	readonly outcome: string;
	readonly fetchedBytes: number;
}

let state: string;
beforeEach(async () => {
	state = await mkdtemp(join(tmpdir(), "hf-stream-dcp-requests-"));
});
afterEach(() => rm(state, { recursive: true, force: true }));

function startHub(intercept?: Intercept): Promise<LocalHub> {
	const repos = [{ id: REPO, commit: COMMIT, files: MODEL }];
	return createLocalHub({ repos, intercept, pageEntries: PAGE_ENTRIES });
}

/** What every worker of these tests is given. */
function settings(hub: LocalHub, index: number) {
	return {
		repo: REPO,
		environment: environmentFor(hub.endpoint, { userAgent: `worker ${index}` }),
		connections: 4,
		stateDirectory: state,
		holder: `worker ${index}`,
		leaseMs: 60_000,
	};
}

/** Worker processes, started and ready. */
async function startWorkers(hub: LocalHub, many: number, pauseMs = 0) {
	const workers = Array.from({ length: many }, (_, i) =>
		startSourceWorker({ ...settings(hub, i), pauseMs }),
	);
	await Promise.all(workers.map((worker) => worker.hear("ready")));
	return {
		workers,
		tell: (command: (index: number) => string) =>
			workers.forEach((worker, i) => worker.tell(command(i))),
		hear: (...kinds: string[]) => Promise.all(workers.map((worker) => worker.hear(...kinds))),
		[Symbol.asyncDispose]: async () => {
			await Promise.all(workers.map((worker: SourceWorker) => worker[Symbol.asyncDispose]()));
		},
	};
}

/** What a Hub was asked for, by kind. */
function count(requests: readonly RequestRecord[], repo = REPO) {
	const of = (is: (request: RequestRecord) => boolean): number => requests.filter(is).length;
	const small = (name: string): number =>
		of(({ origin, path }) => origin === "hub" && path.endsWith(`/${name}`));
	return {
		pins: of(({ path }) => path === `/api/models/${repo}/revision/main`),
		listing: of(({ path }) => path.startsWith(`/api/models/${repo}/tree/`)),
		// Each is redirected once inside the Hub.
		config: small("config.json"),
		index: small("model.safetensors.index.json"),
		resolves: of(({ origin, path }) => origin === "hub" && path.endsWith(".safetensors")),
		// The length field, and the JSON behind it.
		headers: of(({ range = "", origin }) => origin === "cdn" && /^bytes=[08]-/.test(range)),
		all: requests.length,
	};
}

/** What opening the source costs the whole job. */
const ONCE = {
	pins: 1,
	listing: LISTING_PAGES,
	config: 2,
	index: 2,
	resolves: SHARDS,
	headers: 2 * SHARDS,
	all: 1 + LISTING_PAGES + 2 + 2 + SHARDS + 2 * SHARDS,
};

describe("the source of a job is asked for once", () => {
	test("by 12 processes that start at the same moment; reading resolves each file once for each reader", async () => {
		await using hub = await startHub();
		await using all = await startWorkers(hub, 12);
		all.tell(() => "open");
		const opened = await all.hear("opened", "failed");
		expect(count(hub.requests)).toEqual(ONCE);
		expect(new Set(opened.map(({ digest }) => digest)).size).toBe(1);
		expect(opened.filter(({ origin }) => origin === "read")).toHaveLength(1);
		expect(opened.every(({ commit }) => commit === COMMIT)).toBe(true);

		// Each reads two of the files; the one that opened the source knows already where they are.
		const filesOf = (i: number): readonly string[] => [NAMES[i % 5]!, NAMES[(i + 2) % 5]!];
		const before = hub.requests.length;
		all.tell((i) => `read ${filesOf(i).join(" ")}`);
		const read = await all.hear("read", "failed");
		read.forEach(({ sums }, i) => {
			expect(sums).toEqual(Object.fromEntries(filesOf(i).map((name) => [name, SUMS[name]])));
		});
		const after = hub.requests.slice(before);
		expect(after.filter(({ origin }) => origin === "hub")).toHaveLength(11 * 2);
		expect(after.filter(({ origin }) => origin === "cdn")).toHaveLength(12 * 2);
		expect(count(after)).toMatchObject({ pins: 0, listing: 0, config: 0, index: 0, resolves: 22 });
	});

	test("by 64 openings in one process, and by none of those that come later", async () => {
		await using hub = await startHub();
		const open = (index: number) => openJobSource(settings(hub, index));
		const opened = await Promise.all(Array.from({ length: 64 }, (_, i) => open(i)));
		expect(count(hub.requests)).toEqual(ONCE);
		expect(opened.filter(({ origin }) => origin === "read")).toHaveLength(1);
		for (const { source, headerBytes, warnings, kind } of opened) {
			expect(source).toEqual(opened[0]?.source);
			expect({ headerBytes, warnings, kind }).toEqual({
				headerBytes: opened[0]?.headerBytes,
				warnings: [],
				kind: "hub",
			});
		}
		const late = await open(64);
		expect(late.source).toEqual(opened[0]?.source);
		expect(count(hub.requests)).toEqual(ONCE);
		for (const one of [...opened, late]) await one[Symbol.asyncDispose]();
	});
});

describe("a whole job", () => {
	const model = createDemoModel();
	const weights = [...model.files].filter(([path]) => path.endsWith(".safetensors"));

	/** Runs one worker of the job to its end. */
	async function convertAs(index: number, of: number, hub: LocalHub): Promise<WorkerFacts> {
		const options = {
			repo: model.id,
			out: join(state, "out"),
			parallelism: { dpShard: 4, tp: 2, ep: 4 },
			memoryBytes: 16 * 2 ** 20,
			threads: 1,
			worker: { index, count: of },
			environment: { HF_ENDPOINT: hub.endpoint, HF_HOME: join(state, "home") },
		};
		const child = spawn(process.execPath, [CONVERT_PROGRAM, JSON.stringify(options)], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		let text = "";
		child.stdout.setEncoding("utf8").on("data", (piece: string) => (text += piece));
		const [code] = (await once(child, "close")) as [number];
		expect(code).toBe(0);
		return JSON.parse(text) as WorkerFacts;
	}

	/** How many of the ranges that were asked for begin before the one before them has ended. */
	function rangesOf(requests: readonly RequestRecord[], path: string) {
		const ranges = requests
			.filter((request) => request.origin === "cdn" && request.path.endsWith(`/${path}`))
			.map(({ range = "" }) => range.slice("bytes=".length).split("-").map(Number))
			.toSorted(([a = 0], [b = 0]) => a - b);
		const overlaps = ranges.filter(([start = 0], i) => i > 0 && start <= (ranges[i - 1]?.[1] ?? 0));
		expect(ranges.length).toBeGreaterThan(2);
		return { overlaps: overlaps.length };
	}

	test("of 8 workers asks for the source once, and fetches every byte of it once", async () => {
		await using hub = await createLocalHub({ repos: [model] });
		const workers = await Promise.all(Array.from({ length: 8 }, (_, i) => convertAs(i, 8, hub)));
		const { pins, listing, config, index, headers, resolves } = count(hub.requests, model.id);
		expect({ pins, listing, config, index, headers }).toEqual({
			pins: 1,
			listing: 1,
			config: 2,
			index: 2,
			headers: 2 * weights.length,
		});
		// At most once for each file and worker, and never by one that found nothing to do.
		const readers = workers.filter(({ fetchedBytes }) => fetchedBytes > 0).length;
		expect(resolves).toBeLessThanOrEqual((readers + 1) * weights.length);
		expect(resolves).toBeGreaterThanOrEqual(weights.length);
		for (const [path] of weights) expect(rangesOf(hub.requests, path)).toEqual({ overlaps: 0 });
		expect(workers.map(({ outcome }) => outcome)).toContain("committed");
	});
});

describe("a 429 for one worker", () => {
	/** Notes when each request to the Hub comes, and refuses one resolve once it is told to. */
	function limiter(ms: number) {
		/** The Hub's own headers. One second is added for rounding by whoever reads them. */
		const limited = {
			RateLimit: `"resolvers";r=0;t=${ms / 1000 - 1}`,
			"RateLimit-Policy": '"fixed window";"resolvers";q=5000;w=300',
			"Content-Type": "text/html",
		};
		const arrivals: { readonly at: number; readonly path: string }[] = [];
		let refusals = 0;
		let refusedAt: number | undefined;
		let onRefused: () => void = () => {};
		const refused = new Promise<void>((resolve) => {
			onRefused = resolve;
		});
		const intercept: Intercept = ({ record, response }, next) => {
			if (record.origin === "cdn") return next();
			const at = performance.now();
			arrivals.push({ at, path: record.path });
			if (refusals === 0 || !record.path.includes("/resolve/")) return next();
			refusals--;
			refusedAt = at;
			response.writeHead(429, limited).end();
			onRefused();
		};
		return {
			intercept,
			refused,
			refuseNext: () => {
				refusals = 1;
			},
			/** Requests to the Hub from `fromMs` after the refusal until the limit is over. */
			during: (fromMs: number) =>
				arrivals.filter(({ at }) => at > refusedAt! + fromMs && at < refusedAt! + ms),
			after: () => arrivals.filter(({ at }) => at >= refusedAt! + ms),
		};
	}

	test("holds back all others until the time is over, and each says why; then all go on", async () => {
		const limit = limiter(2000);
		await using hub = await startHub(limit.intercept);
		await using all = await startWorkers(hub, 12);
		all.tell(() => "open");
		const opened = await all.hear("opened", "failed");
		// Of those that must resolve, one meets the limit before the others ask for anything.
		const order = opened.map(({ origin }, i) => ({ i, isOpener: origin === "read" }));
		const [first = 0, ...others] = order.filter(({ isOpener }) => !isOpener).map(({ i }) => i);
		limit.refuseNext();
		all.workers[first]?.tell(`read ${NAMES.join(" ")}`);
		await limit.refused;
		await untilPosted();
		for (const i of others) all.workers[i]?.tell(`read ${NAMES.join(" ")}`);
		const readers = [first, ...others].map((i) => all.workers[i]!);
		for (const worker of readers) {
			expect((await worker.hear("read", "failed"))["sums"]).toEqual(SUMS);
		}
		expect(limit.during(0)).toEqual([]);
		// The one that was refused asks once more.
		expect(limit.after()).toHaveLength(11 * SHARDS);
		for (const i of others) {
			const waiting = all.workers[i]!.messages.filter(({ kind }) => kind === "waiting");
			expect(waiting).toHaveLength(1);
			expect(waiting[0]).toMatchObject({
				reason: `the "resolvers" rate limit of ${new URL(hub.endpoint).host} is used up`,
				hint: expect.stringContaining("HF_TOKEN"),
			});
		}
	});

	test("stops all within a second while they are at it", async () => {
		const limit = limiter(3000);
		await using hub = await startHub(limit.intercept);
		await using all = await startWorkers(hub, 6, 100);
		all.tell(() => "open");
		await all.hear("opened", "failed");
		limit.refuseNext();
		all.tell(() => `read ${NAMES.join(" ")}`);
		for (const { sums } of await all.hear("read", "failed")) expect(sums).toEqual(SUMS);
		// What was looked up before the refusal holds for half a second; the rest is for a slow machine.
		expect(limit.during(1500)).toEqual([]);
		expect(limit.after().length).toBeGreaterThan(5);
	});

	test("while the source is asked for is told of by all that wait for it", async () => {
		let refusals = 1;
		await using hub = await startHub(({ record, response }, next) => {
			if (!record.path.startsWith("/api/") || refusals-- <= 0) return next();
			response.writeHead(429, { RateLimit: '"api";r=0;t=1' }).end();
		});
		const heard = Array.from({ length: 5 }, (): ProgressEvent[] => []);
		const openings = heard.map((events, i) =>
			openJobSource({ ...settings(hub, i), onEvent: (event) => events.push(event) }),
		);
		const opened = await Promise.all(openings);
		expect(count(hub.requests)).toEqual({ ...ONCE, pins: 2, all: ONCE.all + 1 });
		const { host } = new URL(hub.endpoint);
		for (const [i, { origin }] of opened.entries()) {
			const waits = heard[i]!.filter(({ kind }) => kind === "waiting");
			if (origin === "read") expect(waits).toEqual([]);
			else expect(waits).toMatchObject([{ reason: `the "api" rate limit of ${host} is used up` }]);
		}
		for (const one of opened) await one[Symbol.asyncDispose]();
	});

	async function untilPosted(): Promise<void> {
		const directory = join(state, "limits");
		for (;;) {
			const names = await readdir(directory).catch(() => []);
			const name = names.find((each) => /^resolvers@[^.]+$/.test(each));
			const text = name === undefined ? "" : await readFile(join(directory, name), "utf8");
			if (text.startsWith("used up until")) return;
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
	}
});
