import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listRanks, parseRankRanges } from "../../src/core/rank-ranges.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import { convert, MANIFEST_NAME, parseConvertOptions, readManifest } from "../../src/index.ts";
import { checkManifest } from "../support/check-manifest.ts";

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

	test("is missing where there is none", async () => {
		expect(await readManifest(root)).toBeUndefined();
		expect(existsSync(join(root, MANIFEST_NAME))).toBe(false);
	});
});
