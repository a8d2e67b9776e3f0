import {
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import {
	convert,
	exportCheckpoint,
	inspectSource,
	parseConvertOptions,
	parseExportOptions,
} from "../../src/index.ts";
import { createFakeIo } from "../support/cli-io.ts";
import { main } from "../../src/cli/main.ts";

const MODEL = createDemoModel();
const TOKENIZER = Buffer.from('{"model": "none"}');
const FILES = new Map([...MODEL.files, ["tokenizer.json", TOKENIZER], ["evil.bin", TOKENIZER]]);
const MiB = 2 ** 20;

let root: string;
let hub: Awaited<ReturnType<typeof createLocalHub>>;
let environment: { readonly [name: string]: string };
let checkpoint: string;
let out: string;
let count = 0;

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-export-"));
	hub = await createLocalHub({ repos: [{ ...MODEL, files: FILES }] });
	environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	checkpoint = join(root, "step-0");
	await convert(
		parseConvertOptions({
			repo: MODEL.id,
			out: checkpoint,
			parallelism: { dpShard: 4, tp: 2, ep: 4 },
			threads: 1,
			environment,
		}),
	);
});
beforeEach(() => {
	out = join(root, `out-${count++}`);
});
afterAll(async () => {
	await hub[Symbol.asyncDispose]();
	rmSync(root, { recursive: true });
});

const run = (options: object = {}) =>
	exportCheckpoint(parseExportOptions({ directory: checkpoint, out, environment, ...options }));

/** Every tensor's bytes, by name. */
async function tensorsOf(directory: string): Promise<Map<string, string>> {
	await using opened = await inspectSource({ repo: directory, environment: {} });
	const tensors = new Map<string, string>();
	for (const { name, file, begin, end, dtype } of opened.source.tensors) {
		const bytes = readFileSync(join(directory, file)).subarray(begin, end);
		tensors.set(name, `${dtype} ${bytes.toString("base64")}`);
	}
	return tensors;
}

function writtenModel(): string {
	const directory = join(root, "model");
	mkdirSync(directory, { recursive: true });
	for (const [name, bytes] of FILES) writeFileSync(join(directory, name), bytes);
	return directory;
}

describe("a checkpoint from the Hub", () => {
	test("becomes the model again within a memory of 16 MiB, with what the trainer does not have taken from the Hub", async () => {
		const before = process.memoryUsage().arrayBuffers;
		let most = 0;
		const onEvent = (): void => {
			most = Math.max(most, process.memoryUsage().arrayBuffers - before);
		};
		const memoryBytes = 16 * MiB;
		const summary = await run({ fill: true, memoryBytes, onEvent });
		expect(await tensorsOf(out)).toEqual(await tensorsOf(writtenModel()));
		expect(summary.filled.length).toBeGreaterThan(10);
		expect(summary).toMatchObject({ rounded: [], missing: [], shards: "original", warnings: [] });
		expect(summary.dataBytes).toBeGreaterThan(1.2 * memoryBytes);
		expect(summary.memoryBytes).toBeLessThanOrEqual(memoryBytes / 2);
		expect(summary.peakStagingBytes).toBeLessThanOrEqual(summary.memoryBytes);
		expect(most).toBeLessThan(memoryBytes);
		const names = readdirSync(out).toSorted();
		expect(names).toEqual([...FILES.keys()].filter((name) => name !== "evil.bin").toSorted());
		for (const name of ["config.json", "tokenizer.json"]) {
			expect(readFileSync(join(out, name)).equals(FILES.get(name)!), name).toBe(true);
		}
	});

	test("is refused where the model would lack tensors, unless that is what is wanted", async () => {
		await expect(run()).rejects.toMatchObject({
			code: "NAMES_UNRESOLVED",
			hint: expect.stringContaining("--fill") as unknown,
		});
		expect(readdirSync(root)).not.toContain(out.slice(root.length + 1));
		const { missing } = await run({ skipMissing: true });
		const left = await tensorsOf(out);
		expect(missing.every(({ name }) => !left.has(name))).toBe(true);
		const all = await tensorsOf(writtenModel());
		expect(left.size + missing.length).toBe(all.size);
		for (const [name, bytes] of left) expect(all.get(name), name).toBe(bytes);
	});

	test("needs no Hub but for what is not in it", async () => {
		const offline = { ...environment, HF_HUB_OFFLINE: "1" };
		const { config, copied, warnings } = await run({ environment: offline, skipMissing: true });
		expect({ config, copied }).toEqual({ config: "written", copied: [] });
		expect(warnings).toHaveLength(2);
		expect(JSON.parse(readFileSync(join(out, "config.json"), "utf8"))).toEqual(
			JSON.parse(Buffer.from(FILES.get("config.json")!).toString()),
		);
	});
});

describe("the directory", () => {
	test("is left alone by a dry run, which says the same", async () => {
		const planned = await run({ fill: true, dryRun: true });
		expect(() => readdirSync(out)).toThrow(/ENOENT/);
		const { files, readBytes, requests, dtypes } = await run({ fill: true });
		expect(planned).toMatchObject({ dryRun: true, files, readBytes, requests, dtypes });
	});

	test("holds nothing of an export that was stopped, and its old model", async () => {
		await run({ skipMissing: true });
		const before = readdirSync(out).toSorted();
		const controller = new AbortController();
		let seen: readonly string[] = [];
		const onEvent = (event: { readonly kind: string }): void => {
			if (event.kind !== "written") return;
			seen = readdirSync(out);
			controller.abort(new Error("stopped"));
		};
		const { signal } = controller;
		await expect(run({ fill: true, overwrite: true, signal, onEvent })).rejects.toThrow("stopped");
		// It had begun, in a folder of its own.
		expect(seen.toSorted()).toEqual([".hf-stream-dcp-export", ...before].toSorted());
		expect(readdirSync(out).toSorted()).toEqual(before);
		await tensorsOf(out);
	});

	test("is not overwritten unasked; then nothing of the old model stays", async () => {
		await run({ skipMissing: true, maxShardBytes: 2_000_000 });
		const old = readdirSync(out);
		await expect(run({ skipMissing: true })).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
		expect(readdirSync(out)).toEqual(old);
		writeFileSync(join(out, "notes.md"), "mine");
		await run({ fill: true, overwrite: true });
		expect(await tensorsOf(out)).toEqual(await tensorsOf(writtenModel()));
		expect(readdirSync(out)).toContain("notes.md");
		expect(
			readdirSync(out)
				.filter((name) => old.includes(name))
				.toSorted(),
		).toEqual(["config.json", "model.safetensors.index.json", "tokenizer.json"]);
	});

	test("is taken by one export at a time", async () => {
		mkdirSync(join(out, ".hf-stream-dcp-export"), { recursive: true });
		await expect(run({ skipMissing: true })).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
		await run({ skipMissing: true, overwrite: true });
		expect(readdirSync(out)).not.toContain(".hf-stream-dcp-export");
	});

	test("is not that of the checkpoint", async () => {
		await expect(run({ out: join(checkpoint, ".") })).rejects.toMatchObject({
			code: "OPTIONS_INVALID",
		});
	});
});

describe("a checkpoint that cannot be used", () => {
	/** A copy of the checkpoint, of which something is changed. */
	function copied(change: (directory: string) => void): string {
		const directory = join(root, `copy-${count++}`);
		mkdirSync(directory);
		for (const name of readdirSync(checkpoint)) {
			writeFileSync(join(directory, name), readFileSync(join(checkpoint, name)));
		}
		change(directory);
		return directory;
	}

	test.each([
		["a data file is missing", (at: string) => rmSync(join(at, "__1_0.distcp"))],
		["a data file is cut off", (at: string) => truncateSync(join(at, "__1_0.distcp"), 1000)],
		["its manifest is damaged", (at: string) => truncateSync(join(at, "hf-stream-dcp.json"), 9000)],
	])("%s", async (_, change) => {
		const directory = copied(change);
		await expect(run({ directory, skipMissing: true })).rejects.toMatchObject({
			code: "CHECKPOINT_CORRUPT",
		});
		expect(() => readdirSync(out)).toThrow(/ENOENT/);
	});

	test("without a manifest it needs the model, or the manifest of another; the target is found by the keys", async () => {
		const directory = copied((at) => rmSync(join(at, "hf-stream-dcp.json")));
		await expect(run({ directory })).rejects.toMatchObject({
			code: "OPTIONS_INVALID",
			hint: expect.stringContaining("--manifest") as unknown,
		});
		const model = writtenModel();
		const mapped = await run({ directory, model, fill: true });
		expect(mapped).toMatchObject({ recipes: "model", family: "llama4", prefix: "" });
		expect(await tensorsOf(out)).toEqual(await tensorsOf(model));
		const dry = { directory, dryRun: true, manifest: checkpoint };
		expect(await run(dry)).toMatchObject({ recipes: "manifest" });
	});

	test("a model that it was not made of is refused", async () => {
		const other = join(root, "other");
		mkdirSync(other, { recursive: true });
		for (const [name, bytes] of FILES) {
			const text = Buffer.from(bytes);
			const at = text.indexOf("language_model.model.norm.weight");
			if (at >= 0) text.write("language_model.model.morn.weight", at);
			writeFileSync(join(other, name), text);
		}
		await expect(run({ model: other, fill: true })).rejects.toMatchObject({
			code: expect.stringMatching(/SOURCE_CHANGED|INDEX_INVALID/) as unknown,
		});
	});
});

test("the command prints what it did, for people and for programs", async () => {
	const io = { ...createFakeIo(), env: environment };
	expect(await main(["export", checkpoint, "--out", out, "--fill"], io)).toBe(0);
	expect(io.out()).toMatch(/filled in +\d+ tensors of the model/);
	const json = { ...createFakeIo(), env: environment };
	const args = ["export", checkpoint, "--out", out, "--fill", "--dry-run", "--json"];
	expect(await main(args, json)).toBe(0);
	expect(JSON.parse(json.out())).toMatchObject({ dryRun: true, family: "llama4" });
	const wrong = { ...createFakeIo(), env: environment };
	expect(await main(["export", checkpoint, "--out", out, "--dtype", "int4"], wrong)).toBe(2);
	expect(wrong.takeErr()).toContain("--dtype: expected one of original");
});
