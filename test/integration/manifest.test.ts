import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listRanks, parseRankRanges } from "../../src/core/rank-ranges.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import {
	convert,
	MANIFEST_NAME,
	parseConvertOptions,
	type ProgressEvent,
	readManifest,
} from "../../src/index.ts";
import { checkManifest, sameInEveryRun } from "../support/check-manifest.ts";
import { runCli } from "../support/run-cli.ts";

const MODEL = createDemoModel();
const MESH = { dpShard: 4, tp: 2, ep: 4 };

let root = "";

beforeAll(() => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-manifest-"));
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

/** Converts the demo's model. */
async function run(name: string, options: object = {}): Promise<string> {
	const out = join(root, name);
	await using hub = await createLocalHub({ repos: [MODEL] });
	const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	const given = { repo: MODEL.id, out, parallelism: MESH, memoryBytes: 2 ** 24, threads: 1 };
	await convert(parseConvertOptions({ ...given, environment, ...options }));
	return out;
}

/** The same in several threads, which only the built program has. */
async function runThreads(name: string, threads: number): Promise<string> {
	const out = join(root, name);
	await using hub = await createLocalHub({ repos: [MODEL] });
	const flags = ["--dp-shard=4", "--tp=2", "--ep=4", "--memory=16MiB", `--threads=${threads}`];
	const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	expect((await runCli([MODEL.id, "--out", out, ...flags], environment)).code).toBe(0);
	return out;
}

/** The same, stopped in the middle, and finished. */
async function runStopped(name: string): Promise<string> {
	const stop = new AbortController();
	let entries = 0;
	const onEvent = (event: ProgressEvent): void => {
		if (event.kind === "entry" && ++entries === 20) stop.abort();
	};
	await expect(run(name, { signal: stop.signal, onEvent })).rejects.toThrow("aborted");
	return run(name);
}

describe("the manifest of a conversion", () => {
	test("says what is on the disk", async () => {
		const manifest = await checkManifest(await run("whole"));
		expect(manifest.source.repo).toBe(MODEL.id);
		expect(manifest.ranks).toBeUndefined();
		expect(manifest.layout.mesh).toMatchObject({ ...MESH, worldSize: 8 });
		expect(manifest.source.files.every(({ sha256 }) => sha256 !== undefined)).toBe(true);
	});

	test("of some ranks speaks for what they hold", async () => {
		const options = { localOutput: true, ranks: [2, 3] };
		const manifest = await checkManifest(await run("local", options));
		expect(manifest.ranks).toBe("2-3");
		const isHeld = manifest.holders.map((text) => {
			const ranks = listRanks(parseRankRanges(text)!);
			return ranks.includes(2) || ranks.includes(3);
		});
		expect(new Set(isHeld)).toEqual(new Set([true, false]));
		for (const { entries } of manifest.tensors) {
			for (const { holders, crc32 } of entries) expect(crc32 !== undefined).toBe(isHeld[holders]);
		}
	});

	test("has a hash of every entry, whoever wrote it and how often it was begun", async () => {
		const whole = await checkManifest(await run("one-thread"));
		expect(whole.hash).toBe("sha256");
		const threads = await checkManifest(await runThreads("three-threads", 3));
		expect(sameInEveryRun(threads)).toEqual(sameInEveryRun(whole));
		for (const { summary } of [whole, threads]) {
			const [worker] = summary.workers;
			const [timeline] = worker!.timelines!;
			expect(timeline).toMatchObject({ share: 0, attempts: 1, takenOver: false });
			const { seconds, fetchedBytes, writtenBytes, retries } = worker!;
			const [end, ...totals] = timeline!.points.at(-1)!;
			expect(totals).toEqual([fetchedBytes, writtenBytes, retries]);
			expect(end).toBeLessThanOrEqual(seconds + 0.001);
			expect(timeline!.begun >= summary.begun && timeline!.ended <= summary.ended).toBe(true);
		}
		const stopped = await checkManifest(await runStopped("stopped"));
		expect(stopped.summary.workers[0]!.resumedEntries).toBeGreaterThan(0);
		expect(stopped.summary.workers[0]!.timelines![0]!.attempts).toBe(2);
		expect(sameInEveryRun(stopped)).toEqual(sameInEveryRun(whole));
	});

	test("has no hash when none is asked for, and that is another command", async () => {
		const out = await run("unhashed", { hash: "none" });
		expect((await checkManifest(out)).hash).toBe("none");
		await expect(run("unhashed")).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
	});

	test("of a layout that was read says who holds what", async () => {
		const like = await run("like", { like: await run("before"), parallelism: {} });
		const manifest = await checkManifest(like);
		expect(manifest.layout).toMatchObject({ worldSize: 8 });
		expect(manifest.layout.mesh).toBeUndefined();
		expect(manifest.command["layout"]).toMatch(/^like, sha256 [0-9a-f]{64}$/);
	});

	test("stays as it is when the command is given again", async () => {
		const out = await run("again");
		const path = join(out, MANIFEST_NAME);
		const before = statSync(path);
		await run("again");
		expect(statSync(path)).toEqual(before);
	});

	test("is missing where there is none", async () => {
		expect(await readManifest(root)).toBeUndefined();
		expect(existsSync(join(root, MANIFEST_NAME))).toBe(false);
	});
});
