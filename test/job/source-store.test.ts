import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DTYPES, type Dtype, itemBytes } from "../../src/core/dtype.ts";
import type { Source, SourceTensor } from "../../src/core/source.ts";
import { createLocalHub, type Intercept, type LocalHub } from "../../src/demo/local-hub.ts";
import type { LocalRepo } from "../../src/demo/local-hub-files.ts";
import {
	type JobSource,
	type JobSourceOptions,
	openJobSource,
} from "../../src/job/source-store.ts";
import { decodeSource, encodeSource, type StoredSource } from "../../src/job/stored-source.ts";
import { environmentFor } from "../support/fetch-hub.ts";
import { shard, shardedModel, writeCache, writeFiles } from "../support/open-source-model.ts";
import { startSourceWorker } from "../support/source-worker.ts";
import { failure } from "../support/failure.ts";

const REPO = "org/model";
const COMMIT = "0123456789abcdef0123456789abcdef01234567";

let root: string;
/** The state directory of a job. */
let state: string;
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), "hf-stream-dcp-source-"));
	state = join(root, "state");
	await writeFiles(state, new Map([["record", Buffer.from("")]]));
});
afterEach(() => rm(root, { recursive: true, force: true }));

function startHub(intercept?: Intercept, more: Partial<LocalRepo> = {}): Promise<LocalHub> {
	const repos = [{ id: REPO, commit: COMMIT, files: shardedModel(), ...more }];
	return createLocalHub({ repos, intercept });
}

function settings(hub: LocalHub, more: Partial<JobSourceOptions> = {}) {
	return {
		repo: REPO,
		environment: environmentFor(hub.endpoint),
		connections: 4,
		stateDirectory: state,
		holder: "worker 0",
		leaseMs: 60_000,
		...more,
	};
}

/** First bytes of each tensor, read through the source. */
async function readAll({ source, bytes }: JobSource): Promise<number[]> {
	const firsts: number[] = [];
	for (const { file, begin: start, end } of source.tensors) {
		const into = new Uint8Array(end - start);
		await bytes.readInto({ file, start, end }, into);
		firsts.push(into[0] ?? 0);
	}
	return firsts;
}

describe("what is stored", () => {
	const arbitraryTensor = fc.record({
		name: fc.string({ unit: "binary" }),
		dtype: fc.constantFrom(...(Object.keys(DTYPES) as Dtype[])),
		shape: fc.array(fc.nat(5), { maxLength: 4 }),
		gap: fc.oneof(fc.constant(0), fc.nat(2 ** 40)),
	});
	const arbitraryFile = fc.record({
		path: fc.string({ minLength: 1 }),
		headerBytes: fc.integer({ min: 8, max: 10_000 }),
		rest: fc.nat(),
		sha256: fc.option(fc.constant("5".repeat(64)), { nil: undefined }),
		tensors: fc.array(arbitraryTensor, { maxLength: 8 }),
	});
	const arbitraryConfig = fc.oneof(
		fc.jsonValue(),
		fc.dictionary(
			fc.string(),
			fc.oneof(fc.constantFrom(Infinity, -Infinity, "\u0000", "\u0000Infinity", "Infinity")),
		),
	);
	const arbitrarySource = fc
		.record({
			files: fc.uniqueArray(arbitraryFile, { maxLength: 5, selector: ({ path }) => path }),
			config: fc.option(arbitraryConfig, { nil: undefined }),
		})
		.map(({ files, config }): Source => {
			const tensors: SourceTensor[] = [];
			const sourceFiles = files.map(({ path, headerBytes, rest, sha256, tensors: own }) => {
				let end = headerBytes;
				for (const { name, dtype, shape, gap } of own) {
					const begin = end + gap;
					end = begin + shape.reduce((a, b) => a * b, itemBytes(dtype));
					tensors.push({ name, dtype, shape, file: path, begin, end });
				}
				const hash = sha256 === undefined ? {} : { sha256 };
				return { path, bytes: end + rest, ...hash, headerBytes };
			});
			return { repo: REPO, commit: COMMIT, files: sourceFiles, tensors, config };
		});
	const stored = (source: Source): StoredSource => ({
		tool: "1.2.3",
		revision: "refs/pr/1",
		headerBytes: 1234,
		warnings: ["a", "ü"],
		source,
	});

	test("is read as it was, members in the same order", () => {
		fc.assert(
			fc.property(arbitrarySource, (source) => {
				const again = decodeSource(encodeSource(stored(source)), "source");
				expect(again).toEqual(stored(source));
				expect(JSON.stringify(again.source)).toBe(JSON.stringify(source));
			}),
		);
	});

	test("is small: 91,000 tensors in 163 files take less than a megabyte", () => {
		const files = Array.from({ length: 163 }, (_, i) => {
			const bytes = 5e9 + i;
			return {
				path: shard(i + 1, 163),
				bytes,
				headerBytes: 60_000 + 8 * i,
				sha256: "a".repeat(64),
			};
		});
		const tensors = files.flatMap(({ path: file, headerBytes }, f) => {
			let end = headerBytes;
			return Array.from({ length: 560 }, (_, i): SourceTensor => {
				const index = f * 560 + i;
				const isScale = index % 2 === 1;
				const [dtype, shape] = isScale
					? (["float32", [56, 16]] as const)
					: (["float8_e4m3fn", [7168, 2048]] as const);
				const part = ["gate", "up", "down"][Math.floor(index / 2) % 3];
				const name = `model.layers.${Math.floor(index / 1536)}.mlp.experts.${Math.floor(index / 6) % 256}.${part}_proj.weight${isScale ? "_scale_inv" : ""}`;
				const begin = end;
				end += shape[0] * shape[1] * itemBytes(dtype);
				return { name, dtype, shape, file, begin, end };
			});
		});
		const source = { repo: REPO, commit: COMMIT, files, tensors, config: {} };
		const bytes = encodeSource(stored(source));
		expect(tensors.length).toBeGreaterThan(91_000);
		expect(bytes.length).toBeLessThan(1e6);
		expect(decodeSource(bytes, "source").source).toEqual(source);
	});

	test("is refused when a byte of it is another, is missing, or is too many", () => {
		const tensor = { name: "a", dtype: "int8", shape: [4], file: "f", begin: 8, end: 12 } as const;
		const files = [{ path: "f", bytes: 12, headerBytes: 8 }];
		const source = { repo: REPO, commit: COMMIT, files, tensors: [tensor], config: { a: 1 } };
		const bytes = encodeSource(stored(source));
		for (const [index, byte] of bytes.entries()) {
			const changed = Uint8Array.from(bytes);
			changed[index] = byte ^ 1;
			expect(() => decodeSource(changed, "source")).toThrow(/^source (is not as|was written by)/);
			expect(() => decodeSource(bytes.subarray(0, index), "source")).toThrow(/is not as it was/);
		}
		expect(() => decodeSource(Buffer.concat([bytes, bytes]), "source")).toThrow(/is not as it was/);
	});
});

describe("when opening fails", () => {
	/** Counts the openings that run at the same time, by what happens to the first request of each. */
	function oneAtATime(answer: Parameters<Intercept>[0]["response"]["statusCode"]) {
		let running = 0;
		const seen = { most: 0, pins: 0 };
		const intercept: Intercept = ({ record, response }, next) => {
			if (!record.path.startsWith("/api/")) return next();
			seen.pins++;
			running++;
			seen.most = Math.max(seen.most, running);
			response.once("close", () => running--);
			setTimeout(() => response.writeHead(answer).end(), 5);
		};
		return { intercept, seen };
	}

	test.each([
		[404, "HUB_NOT_FOUND"],
		[401, "HUB_NOT_FOUND"],
		[403, "HUB_UNAUTHORIZED"],
	])("with %i, each tries once, one after the other, and says %s", async (status, code) => {
		const { intercept, seen } = oneAtATime(status);
		await using hub = await startHub(intercept);
		const errors = Array.from({ length: 8 }, () => failure(openJobSource(settings(hub))));
		for (const error of await Promise.all(errors)) expect(error.code).toBe(code);
		expect(seen).toEqual({ most: 1, pins: 8 });
		expect(await readdir(join(state, "source"))).not.toContain("opened");
	});

	test("for a bad header, each says so; when it is mended, the next one succeeds", async () => {
		const files = shardedModel();
		files.set(shard(2, 3), Buffer.alloc(100, 0xff));
		{
			await using hub = await startHub(undefined, { files });
			const errors = Array.from({ length: 4 }, () => failure(openJobSource(settings(hub))));
			for (const error of await Promise.all(errors)) expect(error.code).toBe("HEADER_INVALID");
		}
		await using hub = await startHub();
		await using opened = await openJobSource(settings(hub));
		expect(opened.origin).toBe("read");
		expect(await readAll(opened)).toEqual([1, 2, 1, 2, 1, 2]);
	});

	test("an abort ends the wait for another worker", async () => {
		const controller = new AbortController();
		await using hub = await startHub(() => {});
		const ending = new AbortController();
		const first = openJobSource(settings(hub, { signal: ending.signal }));
		const second = openJobSource(settings(hub, { signal: controller.signal }));
		setTimeout(() => controller.abort("enough"), 50);
		await expect(second).rejects.toBe("enough");
		ending.abort("over");
		await expect(first).rejects.toBe("over");
	});
});

describe("when the worker that reads the source", () => {
	/** The CDN answers worker 0 only when it is told to. */
	function holdWorker0() {
		const held: (() => void)[] = [];
		let reached: () => void = () => {};
		const isHeld = new Promise<void>((resolve) => {
			reached = resolve;
		});
		let isOpen = false;
		const intercept: Intercept = ({ record, request }, next) => {
			if (isOpen || record.origin === "hub" || request.headers["user-agent"] !== "worker 0") {
				return next();
			}
			held.push(next);
			reached();
		};
		const letGo = (): void => {
			isOpen = true;
			for (const next of held) next();
		};
		return { intercept, isHeld, letGo };
	}
	function worker(hub: LocalHub, index: number, leaseMs: number) {
		const environment = environmentFor(hub.endpoint, { userAgent: `worker ${index}` });
		return startSourceWorker(settings(hub, { environment, leaseMs, holder: `worker ${index}` }));
	}

	test("is killed, another takes over at once", async () => {
		const { intercept, isHeld } = holdWorker0();
		await using hub = await startHub(intercept);
		await using first = worker(hub, 0, 60_000);
		first.tell("open");
		await isHeld;
		await using second = worker(hub, 1, 60_000);
		await using third = worker(hub, 2, 60_000);
		second.tell("open");
		third.tell("open");
		await Promise.all([second.hear("ready"), third.hear("ready")]);
		first.child.kill("SIGKILL");
		const opened = [await second.hear("opened", "failed"), await third.hear("opened", "failed")];
		expect(new Set(opened.map(({ origin }) => origin))).toEqual(new Set(["read", "stored"]));
		expect(opened[0]?.["digest"]).toBe(opened[1]?.["digest"]);
	});

	test("is stopped for longer than a lease, it goes by what another stored when it comes back", async () => {
		const { intercept, isHeld, letGo } = holdWorker0();
		await using hub = await startHub(intercept);
		await using first = worker(hub, 0, 500);
		first.tell("open");
		await isHeld;
		first.child.kill("SIGSTOP");
		await using second = worker(hub, 1, 500);
		second.tell("open");
		const bySecond = await second.hear("opened", "failed");
		expect(bySecond["origin"]).toBe("read");
		letGo();
		first.child.kill("SIGCONT");
		const byFirst = await first.hear("opened", "failed");
		expect(byFirst).toEqual({ ...bySecond, origin: "stored" });
		const names = await readdir(join(state, "source"));
		expect(names.toSorted()).toEqual(["claim.1", "claim.2", "opened"]);
		// What it reads comes from where the others read it.
		first.tell(`read ${shard(1, 3)}`);
		second.tell(`read ${shard(1, 3)}`);
		expect((await first.hear("read"))["sums"]).toEqual((await second.hear("read"))["sums"]);
	});
});

describe("a job's source", () => {
	test("stays at its commit when the branch moves, and is never asked for again", async () => {
		const commits = [COMMIT, "f".repeat(40)];
		await using hub = await startHub(({ record, response }, next) => {
			if (!record.path.startsWith("/api/models/org/model/revision/")) return next();
			const sha = commits.shift();
			const facts = { private: false, gated: false, downloads: 0, likes: 0, lastModified: "2026" };
			response.writeHead(200).end(JSON.stringify({ _id: "1", id: REPO, sha, ...facts }));
		});
		const sources = [];
		for (let restart = 0; restart < 3; restart++) {
			await using opened = await openJobSource(settings(hub, { revision: "main" }));
			sources.push(opened.source);
		}
		expect(sources.map(({ commit }) => commit)).toEqual([COMMIT, COMMIT, COMMIT]);
		expect(commits).toEqual(["f".repeat(40)]);
		// The commit itself names the same source.
		await using named = await openJobSource(settings(hub, { revision: COMMIT }));
		expect(named.source).toEqual(sources[0]);
	});

	test.each([
		["revision", { revision: "v2" }, "org/model at v2"],
		["repository", { repo: "org/other" }, "org/other at main"],
		["version", { tool: "9.9.9" }, "by version 9.9.9"],
	])("is not that of another %s: the difference is shown", async (_, other, shown) => {
		await using hub = await startHub();
		await using opened = await openJobSource(settings(hub));
		expect(opened.origin).toBe("read");
		const before = hub.requests.length;
		const error = await failure(openJobSource(settings(hub, other)));
		expect(error.code).toBe("PLAN_CHANGED");
		expect(error.message).toContain(`org/model at main (commit ${COMMIT})`);
		expect(error.message).toContain(shown);
		expect(hub.requests).toHaveLength(before);
	});

	test("is read from the own cache by whoever has it there, from the Hub by the others", async () => {
		const cacheDir = join(root, "cache");
		await writeCache({ cacheDir, repo: REPO, commit: COMMIT, files: shardedModel() });
		await using hub = await startHub();
		const cached = environmentFor(hub.endpoint, { cacheDir });
		await using first = await openJobSource(settings(hub));
		const before = hub.requests.length;
		await using second = await openJobSource(settings(hub, { environment: cached }));
		expect([first.kind, second.kind]).toEqual(["hub", "cache"]);
		expect(await readAll(second)).toEqual([1, 2, 1, 2, 1, 2]);
		expect(hub.requests).toHaveLength(before);
	});

	test("that the first one took from its cache comes from the Hub for those that lack it", async () => {
		const cacheDir = join(root, "cache");
		await writeCache({
			cacheDir,
			repo: REPO,
			commit: COMMIT,
			files: shardedModel(),
			refs: ["main"],
		});
		await using hub = await startHub();
		const offline = environmentFor(hub.endpoint, { cacheDir, offline: true });
		await using first = await openJobSource(settings(hub, { environment: offline }));
		await using second = await openJobSource(settings(hub));
		expect([first.kind, second.kind]).toEqual(["cache", "hub"]);
		expect(await readAll(second)).toEqual([1, 2, 1, 2, 1, 2]);
		const paths = hub.requests.filter(({ origin }) => origin === "hub").map(({ path }) => path);
		expect(paths).toEqual([1, 2, 3].map((n) => `/${REPO}/resolve/${COMMIT}/${shard(n, 3)}`));
		const without = environmentFor(hub.endpoint, { offline: true });
		const error = await failure(openJobSource(settings(hub, { environment: without })));
		expect(error.code).toBe("OFFLINE");
	});

	test("that is a directory is opened by each worker, without the store", async () => {
		const directory = join(root, "model");
		await writeFiles(directory, shardedModel());
		await using hub = await startHub();
		for (let worker = 0; worker < 2; worker++) {
			await using opened = await openJobSource(settings(hub, { repo: directory }));
			expect(opened).toMatchObject({ kind: "directory", origin: "read" });
			expect(await readAll(opened)).toEqual([1, 2, 1, 2, 1, 2]);
		}
		expect(await readdir(state)).toEqual(["record"]);
		expect(hub.requests).toEqual([]);
	});

	test("that was damaged on the disk is refused", async () => {
		await using hub = await startHub();
		await using opened = await openJobSource(settings(hub));
		expect(opened.origin).toBe("read");
		const path = join(state, "source", "opened", "source");
		const bytes = await readFile(path);
		bytes[bytes.length - 3]! ^= 4;
		await writeFile(path, bytes);
		const error = await failure(openJobSource(settings(hub)));
		expect(error.code).toBe("CHECKPOINT_CORRUPT");
		expect(error.message).toContain(path);
	});

	test("is not stored where the job's state is gone: others may have finished it", async () => {
		await rm(state, { recursive: true });
		await using hub = await startHub();
		const error = await failure(openJobSource(settings(hub)));
		expect(error.code).toBe("OUTPUT_WRITE");
		expect(await readdir(root)).toEqual([]);
		expect(hub.requests).toEqual([]);
	});
});
