import { mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ProgressEvent } from "../../src/core/events.ts";
import { createLocalHub, type LocalHubOptions } from "../../src/demo/local-hub.ts";
import type { LocalRepo } from "../../src/demo/local-hub-files.ts";
import {
	openSource,
	type OpenedSource,
	type OpenSourceOptions,
} from "../../src/fetch/open-source.ts";
import { environmentFor } from "../support/fetch-hub.ts";
import {
	jsonFile,
	sha256Of,
	shard,
	shardedModel,
	weightsFile,
	writeCache,
	writeFiles,
} from "../support/open-source-model.ts";
import { failure } from "../support/failure.ts";

const REPO = "org/model";
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const INDEX = "model.safetensors.index.json";

let root: string;
beforeAll(async () => {
	root = await mkdtemp(join(tmpdir(), "open-source-"));
});
afterAll(() => rm(root, { recursive: true }));

let directories = 0;
function freshDirectory(): string {
	directories++;
	return join(root, `${directories}`);
}

function byText(a: string, b: string): number {
	return a < b ? -1 : Number(a > b);
}

/** Bytes of a tensor, read through the source. */
async function readTensor(opened: OpenedSource, name: string): Promise<number[]> {
	const tensor = opened.source.tensors.find((candidate) => candidate.name === name)!;
	const into = new Uint8Array(tensor.end - tensor.begin);
	const { file, begin: start, end } = tensor;
	await opened.bytes.readInto({ file, start, end }, into);
	return [...into];
}

/** A Hub with one repository, and how to open it. */
async function serve(
	files: ReadonlyMap<string, Uint8Array>,
	more: Partial<LocalHubOptions & LocalRepo> = {},
) {
	const { access, readers, ...options } = more;
	const repos = [{ id: REPO, commit: COMMIT, files, access, readers }];
	const hub = await createLocalHub({ repos, ...options });
	return {
		hub,
		open: (changes: Partial<OpenSourceOptions> & { token?: string; cacheDir?: string } = {}) => {
			const { token, cacheDir = "/nonexistent", ...rest } = changes;
			const environment = environmentFor(hub.endpoint, { token, cacheDir });
			return openSource({ repo: REPO, environment, connections: 4, ...rest });
		},
		/** `file bytes=a-b` of every request to the CDN. */
		ranges: () =>
			hub.requests
				.filter(({ origin }) => origin === "cdn")
				.map(({ path, range }) => `${path.split("/").at(-1)} ${range}`),
		[Symbol.asyncDispose]: () => hub.close(),
	};
}

describe("a repository on the Hub", () => {
	test("is pinned, found and read, with its files and tensors in order", async () => {
		const files = shardedModel();
		await using hub = await serve(files);
		const events: ProgressEvent[] = [];
		await using opened = await hub.open({ onEvent: (event) => events.push(event) });
		expect(opened.kind).toBe("hub");
		expect(opened.warnings).toEqual([]);
		const { source } = opened;
		expect(source).toMatchObject({ repo: REPO, commit: COMMIT, config: { model_type: "llama" } });
		expect(source.tensors.map(({ name }) => name)).toEqual(["a", "b", "c", "d", "e", "f"]);
		expect(source.files).toEqual(
			[1, 2, 3].map((number) => {
				const bytes = files.get(shard(number, 3))!;
				return {
					path: shard(number, 3),
					bytes: bytes.length,
					headerBytes: bytes.length - 20,
					sha256: sha256Of(bytes),
				};
			}),
		);
		expect(await readTensor(opened, "d")).toEqual(Array.from({ length: 10 }, () => 2));
		expect(events.filter(({ kind }) => kind === "phase")).toEqual([
			{ kind: "phase", phase: "headers" },
		]);
	});

	test("may have a config.json with the numbers that only Python writes", async () => {
		const text = '{"limit": [0.0, Infinity, -Infinity], "x": NaN, "name": "NaN \\" Infinity"}';
		const files = new Map(shardedModel()).set("config.json", Buffer.from(text));
		await using hub = await serve(files);
		await using opened = await hub.open();
		expect(opened.source.config).toEqual({
			limit: [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
			x: null,
			name: 'NaN " Infinity',
		});
	});

	test("costs two exact requests per file, and counts their bytes", async () => {
		const files = shardedModel();
		await using hub = await serve(files);
		await using opened = await hub.open();
		const expected = opened.source.files.flatMap(({ path, headerBytes }) => [
			`${path} bytes=0-7`,
			`${path} bytes=8-${headerBytes - 1}`,
		]);
		expect(hub.ranges().toSorted(byText)).toEqual(expected);
		const received = hub.hub.requests
			.filter(({ origin }) => origin === "cdn")
			.reduce((sum, { bytes }) => sum + bytes, 0);
		expect(received).toBe(opened.headerBytes);
		expect(opened.headerBytes).toBe(
			opened.source.files.reduce((sum, file) => sum + file.headerBytes, 0),
		);
	});

	test("in one file, with a revision and no config", async () => {
		await using hub = await serve(new Map([["model.safetensors", weightsFile(["w"])]]));
		await using opened = await hub.open({ revision: COMMIT });
		expect(opened.source.config).toBeUndefined();
		expect(opened.source.tensors).toHaveLength(1);
		expect(await readTensor(opened, "w")).toEqual(Array.from({ length: 10 }, () => 1));
	});

	test("whose shards hold more than the index names", async () => {
		const files = shardedModel();
		files.set(shard(1, 3), weightsFile(["mtp", "a", "b"]));
		files.set(shard(3, 3), weightsFile(["e", "a", "f"]));
		await using hub = await serve(files);
		await using opened = await hub.open();
		expect(opened.source.tensors.map(({ name, file }) => `${name} ${file}`)).toEqual([
			`a ${shard(1, 3)}`,
			`b ${shard(1, 3)}`,
			`c ${shard(2, 3)}`,
			`d ${shard(2, 3)}`,
			`e ${shard(3, 3)}`,
			`f ${shard(3, 3)}`,
		]);
		expect(opened.warnings).toEqual([
			`1 tensor is not named by ${INDEX} and left out: "mtp" in ${shard(1, 3)}`,
			`1 tensor is taken from another file by ${INDEX} and left out: "a" in ${shard(3, 3)}`,
		]);
	});

	test.each<[string, (files: Map<string, Uint8Array>) => void, string, string]>([
		[
			"an index that names a missing shard",
			(files) => files.delete(shard(2, 3)),
			"INDEX_INVALID",
			`lacks 1 of them: ${shard(2, 3)}`,
		],
		[
			"an index that names a missing tensor",
			(files) => files.set(shard(2, 3), weightsFile(["c"])),
			"INDEX_INVALID",
			`"d" (not in ${shard(2, 3)})`,
		],
		[
			"an index that leaves the repository",
			(files) => files.set(INDEX, jsonFile({ weight_map: { a: "../../x.safetensors" } })),
			"INDEX_INVALID",
			'"../../x.safetensors"',
		],
		[
			"an index that is no JSON",
			(files) => files.set(INDEX, Buffer.from("<html>")),
			"INDEX_INVALID",
			'found "<" (byte 0)',
		],
		[
			"a damaged header",
			(files) => files.set(shard(2, 3), weightsFile(["c", "d"]).subarray(0, -1)),
			"HEADER_INVALID",
			shard(2, 3),
		],
		[
			"a file without a header",
			(files) => files.set(shard(2, 3), Buffer.from("short")),
			"HEADER_INVALID",
			"it has 5 bytes",
		],
		[
			"a header that claims too much",
			(files) => files.set(shard(2, 3), Buffer.alloc(50, 255)),
			"HEADER_INVALID",
			"its header claims",
		],
		[
			"a config that is no JSON",
			(files) => files.set("config.json", Buffer.from("{,}")),
			"SOURCE_UNREADABLE",
			"config.json of org/model is not valid JSON",
		],
		[
			"no safetensors files",
			(files) =>
				[INDEX, shard(1, 3), shard(2, 3), shard(3, 3)].forEach((path) => files.delete(path)),
			"SOURCE_UNREADABLE",
			"its weights are in original/consolidated.00.pth",
		],
	])("%s", async (_, change, code, message) => {
		const files = shardedModel();
		change(files);
		await using hub = await serve(files);
		const error = await failure(hub.open());
		expect(error.code).toBe(code);
		expect(error.message).toContain(message);
		expect(error.hint).toBeDefined();
	});

	test("that does not exist, or not at this revision", async () => {
		await using hub = await serve(shardedModel());
		expect((await failure(hub.open({ repo: "org/other" }))).code).toBe("HUB_NOT_FOUND");
		expect((await failure(hub.open({ revision: "v9" }))).code).toBe("HUB_NOT_FOUND");
	});

	test("that is gated", async () => {
		await using hub = await serve(shardedModel(), {
			access: "gated",
			readers: ["hf_reader"],
			tokens: ["hf_reader", "hf_other"],
		});
		expect((await failure(hub.open())).code).toBe("HUB_GATED");
		expect((await failure(hub.open({ token: "hf_other" }))).code).toBe("HUB_GATED");
		await using opened = await hub.open({ token: "hf_reader" });
		expect(opened.source.tensors).toHaveLength(6);
		const atCdn = hub.hub.requests.filter(({ origin }) => origin === "cdn");
		expect(atCdn.some(({ hasAuthorization }) => hasAuthorization)).toBe(false);
	});

	test("an abort ends the opening with its reason", async () => {
		const controller = new AbortController();
		await using hub = await serve(shardedModel(), {
			intercept: ({ record }, next) => {
				if (record.range === "bytes=0-7") controller.abort(new Error("enough"));
				else next();
			},
		});
		await expect(hub.open({ signal: controller.signal })).rejects.toThrow("enough");
		await expect(hub.open({ signal: controller.signal })).rejects.toThrow("enough");
	});
});

test.each(["a b", "a/b/c", "org/na--me", "org/name.git", "https://huggingface.co/org/name"])(
	"%j is no repository and no directory",
	async (repo) => {
		const environment = environmentFor("http://127.0.0.1:9");
		const error = await failure(openSource({ repo, environment, connections: 1 }));
		expect(error.code).toBe("OPTIONS_INVALID");
	},
);

describe("the cache, with the Hub within reach", () => {
	test.each(["links", "shared-links", "copies"] as const)(
		"all weights are there (%s)",
		async (style) => {
			const files = shardedModel();
			const cacheDir = freshDirectory();
			await writeCache({ cacheDir, repo: REPO, commit: COMMIT, files, style });
			await using hub = await serve(files);
			await using opened = await hub.open({ cacheDir });
			await using direct = await hub.open();
			expect(opened.kind).toBe("cache");
			expect(opened.source).toEqual(direct.source);
			expect(await readTensor(opened, "c")).toEqual(await readTensor(direct, "c"));
		},
	);

	test("no file is asked for then", async () => {
		const files = shardedModel();
		const cacheDir = freshDirectory();
		await writeCache({ cacheDir, repo: REPO, commit: COMMIT, files });
		await using hub = await serve(files);
		await using opened = await hub.open({ cacheDir });
		await readTensor(opened, "c");
		const paths = hub.hub.requests.map(({ path }) => path);
		expect(paths.filter((path) => !path.startsWith("/api/models/"))).toEqual([]);
	});

	test.each<[string, (files: Map<string, Uint8Array>) => void, string]>([
		["a weight file is missing", (files) => files.delete(shard(3, 3)), COMMIT],
		[
			"a weight file has another size",
			(files) => files.set(shard(3, 3), weightsFile(["e"])),
			COMMIT,
		],
		["it has another commit", () => {}, "f".repeat(40)],
	])("the Hub is read when %s", async (_, change, commit) => {
		const files = shardedModel();
		const cached = shardedModel();
		change(cached);
		const cacheDir = freshDirectory();
		await writeCache({ cacheDir, repo: REPO, commit, files: cached, refs: ["main"] });
		await using hub = await serve(files);
		await using opened = await hub.open({ cacheDir });
		expect(opened.kind).toBe("hub");
		expect(opened.source.commit).toBe(COMMIT);
		expect(await readTensor(opened, "f")).toEqual(Array.from({ length: 10 }, () => 2));
	});
});

/** The files of {@link shardedModel} but for some. */
function without(...paths: readonly string[]): Map<string, Uint8Array> {
	return new Map([...shardedModel()].filter(([path]) => !paths.includes(path)));
}

describe("offline", () => {
	/** Opens from the cache with an endpoint that nobody may connect to. */
	async function open(
		cache: Partial<Parameters<typeof writeCache>[0]>,
		options: Partial<OpenSourceOptions> = {},
	) {
		const cacheDir = freshDirectory();
		await writeCache({
			cacheDir,
			repo: REPO,
			commit: COMMIT,
			files: shardedModel(),
			refs: ["main"],
			...cache,
		});
		const environment = environmentFor("http://127.0.0.1:9", { cacheDir, offline: true });
		return openSource({ repo: REPO, environment, connections: 2, ...options });
	}

	test.each([
		["the default branch", {}, {}],
		["a branch with a slash", { refs: ["refs/pr/1"] }, { revision: "refs/pr/1" }],
		["a commit", { refs: [] }, { revision: COMMIT }],
		["a listing", { listing: shardedModel() }, {}],
		["copies instead of links", { style: "copies" as const }, {}],
		["blobs in a shared store", { style: "shared-links" as const }, {}],
	])("a complete snapshot is a source: %s", async (_, cache, options) => {
		await using opened = await open(cache, options);
		expect(opened.kind).toBe("cache");
		expect(opened.source).toMatchObject({
			repo: REPO,
			commit: COMMIT,
			config: { model_type: "llama" },
		});
		expect(opened.source.tensors.map(({ name }) => name)).toEqual(["a", "b", "c", "d", "e", "f"]);
		expect(await readTensor(opened, "f")).toEqual(Array.from({ length: 10 }, () => 2));
	});

	test("hashes are those that the Hub states", async () => {
		const files = shardedModel();
		const hashes = [1, 2, 3].map((number) => sha256Of(files.get(shard(number, 3))!));
		await using linked = await open({});
		await using shared = await open({ style: "shared-links" });
		await using listed = await open({ style: "copies", listing: files });
		for (const { source } of [linked, shared, listed]) {
			expect(source.files.map(({ sha256 }) => sha256)).toEqual(hashes);
		}
	});

	test.each([
		["a shard", { files: without(shard(2, 3)) }, {}, `it lacks ${shard(2, 3)}`],
		[
			"a shard of a listing",
			{ files: without(shard(2, 3)), listing: shardedModel() },
			{},
			`it lacks ${shard(2, 3)}`,
		],
		["the index", { files: without(INDEX) }, {}, `it lacks ${INDEX}`],
		[
			"the index of a listing",
			{ files: without(INDEX), listing: shardedModel() },
			{},
			`it lacks ${INDEX}`,
		],
		["the config", { files: without("config.json") }, {}, "it lacks config.json"],
		[
			"the config of a listing",
			{ files: without("config.json"), listing: shardedModel() },
			{},
			"it lacks config.json",
		],
		["all weights", { files: new Map([["config.json", jsonFile({})]]) }, {}, "it lacks weights"],
		["the branch", {}, { revision: "dev" }, "revision dev of org/model is not in the cache"],
		[
			"a branch that would leave the folder",
			{},
			{ revision: "../main" },
			"revision ../main of org/model is not in the cache",
		],
		[
			"the commit",
			{},
			{ revision: "f".repeat(40) },
			`org/model at ${"f".repeat(40)} is not in the cache`,
		],
		["the repository", {}, { repo: "org/other" }, "revision main of org/other is not in the cache"],
	])("what is missing is named: %s", async (_, cache, options, message) => {
		const error = await failure(open(cache, options));
		expect(error.code).toBe("OFFLINE");
		expect(error.message).toContain(message);
		expect(error.hint).toContain("HF_HUB_OFFLINE");
	});

	test("what the Hub does not have need not be cached", async () => {
		await using bare = await open({ files: without("config.json"), absent: ["config.json"] });
		expect(bare.source.config).toBeUndefined();
		await using unindexed = await open({ files: without(INDEX), absent: [INDEX] });
		expect(unindexed.source.tensors).toHaveLength(6);
		const files = new Map([["model.safetensors", weightsFile(["w"])]]);
		await using listed = await open({ files, listing: files });
		expect(listed.source.config).toBeUndefined();
	});

	test("a broken listing is ignored", async () => {
		const cacheDir = freshDirectory();
		const files = shardedModel();
		await writeCache({ cacheDir, repo: REPO, commit: COMMIT, files, refs: ["main"] });
		for (const text of [
			"{",
			"[]",
			'{"format_version":2}',
			'{"format_version":1,"files":{"a":null}}',
		]) {
			const trees = join(cacheDir, "models--org--model/trees");
			await writeFiles(trees, new Map([[`${COMMIT}.json`, Buffer.from(text)]]));
			const environment = environmentFor("http://127.0.0.1:9", { cacheDir, offline: true });
			await using opened = await openSource({ repo: REPO, environment, connections: 2 });
			expect(opened.source.tensors).toHaveLength(6);
		}
	});
});

describe("a directory", () => {
	const environment = environmentFor("http://127.0.0.1:9");

	async function openDirectory(files = shardedModel(), options: Partial<OpenSourceOptions> = {}) {
		const repo = freshDirectory();
		await writeFiles(repo, files);
		return openSource({ repo, environment, connections: 2, ...options });
	}

	test("is a source without a commit", async () => {
		const events: ProgressEvent[] = [];
		await using opened = await openDirectory(shardedModel(), {
			onEvent: (event) => events.push(event),
		});
		expect(opened.kind).toBe("directory");
		expect(opened.source).toMatchObject({ commit: "local", config: { model_type: "llama" } });
		expect(opened.source.repo).toBe(join(root, `${directories}`));
		expect(opened.warnings).toEqual([]);
		expect(await readTensor(opened, "e")).toEqual(Array.from({ length: 10 }, () => 1));
		const received = events.flatMap((event) => (event.kind === "received" ? [event.bytes] : []));
		expect(received.at(-1)).toBe(opened.headerBytes + 10);
		const requests = events.flatMap((event) => (event.kind === "request" ? [event.range] : []));
		expect(requests.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(
			opened.headerBytes + 10,
		);
	});

	test("that is a snapshot of a cache has its commit", async () => {
		const cacheDir = freshDirectory();
		const repo = await writeCache({ cacheDir, repo: REPO, commit: COMMIT, files: shardedModel() });
		await using opened = await openSource({ repo, environment, connections: 2 });
		expect([opened.kind, opened.source.commit, opened.source.repo]).toEqual([
			"directory",
			COMMIT,
			repo,
		]);
	});

	test("wins over a repository of the same name, and says so", async () => {
		const previous = process.cwd();
		const working = freshDirectory();
		await writeFiles(join(working, "org/model"), shardedModel());
		const missing = failure(openSource({ repo: "./org/other", environment, connections: 2 }));
		expect((await missing).code).toBe("SOURCE_UNREADABLE");
		process.chdir(working);
		try {
			await using opened = await openSource({ repo: "org/model", environment, connections: 2 });
			expect(opened.kind).toBe("directory");
			expect(opened.warnings).toEqual([
				`org/model is taken for the directory ${join(process.cwd(), "org/model")}, not for a repository on the Hub`,
			]);
		} finally {
			process.chdir(previous);
		}
	});

	test("has no revisions", async () => {
		const error = await failure(openDirectory(shardedModel(), { revision: "main" }));
		expect(error.code).toBe("OPTIONS_INVALID");
	});

	test("that does not exist, or is a file", async () => {
		for (const repo of [join(root, "nowhere"), "~/no such directory", import.meta.filename]) {
			const error = await failure(openSource({ repo, environment, connections: 2 }));
			expect(error.code).toBe("SOURCE_UNREADABLE");
			expect(error.message).toMatch(/^\/.* cannot be listed$/);
		}
	});

	test("may hold a model of many files", async () => {
		const files = new Map<string, Uint8Array>();
		for (let number = 1; number <= 150; number++) {
			files.set(shard(number, 150), weightsFile([`w${number}`], number));
		}
		await using opened = await openDirectory(files, { connections: 16 });
		const { tensors } = opened.source;
		const reads = [...tensors, ...tensors.toReversed()].map(({ name }) => readTensor(opened, name));
		expect((await Promise.all(reads)).map(({ length }) => length)).toEqual(
			[...tensors, ...tensors.toReversed()].map(({ end, begin }) => end - begin),
		);
	});

	test("a file that shrinks, grows or goes is noticed", async () => {
		const opened = await openDirectory();
		const file = join(opened.source.repo, shard(2, 3));
		const size = opened.source.files[1]!.bytes;
		await truncate(file, size - 1);
		const cut = await failure(readTensor(opened, "d"));
		expect(cut.code).toBe("SOURCE_CHANGED");
		expect(cut.message).toBe(`${file} changed while it was read: it ends at byte ${size - 1}`);
		await opened[Symbol.asyncDispose]();
		const grown = await openDirectory();
		await grown[Symbol.asyncDispose]();
		await truncate(join(grown.source.repo, shard(2, 3)), size + 1);
		expect((await failure(readTensor(grown, "d"))).message).toContain(
			`it had ${size} bytes and now has ${size + 1}`,
		);
		await rm(join(grown.source.repo, shard(3, 3)));
		expect((await failure(readTensor(grown, "e"))).code).toBe("SOURCE_UNREADABLE");
		await grown[Symbol.asyncDispose]();
	});

	test("a read ends with the reason of an abort", async () => {
		await using opened = await openDirectory();
		const range = { file: shard(1, 3), start: 0, end: 8 };
		const signal = AbortSignal.abort(new Error("enough"));
		await expect(opened.bytes.readInto(range, new Uint8Array(8), { signal })).rejects.toThrow(
			"enough",
		);
	});

	test("a Git LFS pointer is named as such", async () => {
		const files = shardedModel();
		files.set(
			shard(1, 3),
			Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
		);
		const error = await failure(openDirectory(files));
		expect(error.hint).toContain("git lfs pull");
	});
});

describe("a diffusion pipeline", () => {
	/** The transformer in two shards, beside components that nobody trains. */
	function pipelineFiles(): Map<string, Uint8Array> {
		const name = "diffusion_pytorch_model";
		const shards = [`${name}-00001-of-00002.safetensors`, `${name}-00002-of-00002.safetensors`];
		return new Map([
			[
				"model_index.json",
				jsonFile({
					_class_name: "FluxPipeline",
					transformer: ["diffusers", "FluxTransformer2DModel"],
					vae: ["diffusers", "AutoencoderKL"],
				}),
			],
			["flux1-dev.safetensors", weightsFile(["x"])],
			[`vae/${name}.safetensors`, weightsFile(["y"])],
			["vae/config.json", jsonFile({ _class_name: "AutoencoderKL" })],
			["transformer/config.json", jsonFile({ _class_name: "FluxTransformer2DModel" })],
			[
				`transformer/${name}.safetensors.index.json`,
				jsonFile({ weight_map: { a: shards[0], b: shards[0], c: shards[1] } }),
			],
			[`transformer/${shards[0]}`, weightsFile(["a", "b"])],
			[`transformer/${shards[1]}`, weightsFile(["c"])],
		]);
	}

	async function expectTransformer(opened: OpenedSource): Promise<void> {
		expect(opened.source.config).toEqual({ _class_name: "FluxTransformer2DModel" });
		expect(opened.source.tensors.map(({ name }) => name)).toEqual(["a", "b", "c"]);
		expect(await readTensor(opened, "b")).toEqual(Array.from({ length: 10 }, () => 2));
		expect(await readTensor(opened, "c")).toEqual(Array.from({ length: 10 }, () => 1));
		expect(opened.warnings).toEqual([
			expect.stringContaining("is a diffusers pipeline (FluxPipeline), of which transformer/"),
		]);
	}

	test("on the Hub is its transformer", async () => {
		await using hub = await serve(pipelineFiles());
		await using opened = await hub.open();
		await expectTransformer(opened);
	});

	test("in the cache, offline, is its transformer, and lacks nothing", async () => {
		const files = new Map(
			[...pipelineFiles()].filter(([path]) => /^(?:model_index|transformer)/.test(path)),
		);
		for (const listing of [undefined, pipelineFiles()]) {
			const cacheDir = freshDirectory();
			const cache = { cacheDir, repo: REPO, commit: COMMIT, files, refs: ["main"] };
			await writeCache({ ...cache, ...(listing && { listing }) });
			const environment = environmentFor("http://127.0.0.1:9", { cacheDir, offline: true });
			await using opened = await openSource({ repo: REPO, environment, connections: 2 });
			await expectTransformer(opened);
		}
	});

	test("offline without the transformer's config is not complete", async () => {
		const cacheDir = freshDirectory();
		const files = pipelineFiles();
		files.delete("transformer/config.json");
		await writeCache({ cacheDir, repo: REPO, commit: COMMIT, files, refs: ["main"] });
		const environment = environmentFor("http://127.0.0.1:9", { cacheDir, offline: true });
		const error = await failure(openSource({ repo: REPO, environment, connections: 2 }));
		expect(error.code).toBe("OFFLINE");
		expect(error.message).toContain("it lacks transformer/config.json");
	});

	test("in a directory is its transformer", async () => {
		const repo = freshDirectory();
		await writeFiles(repo, pipelineFiles());
		const environment = environmentFor("http://127.0.0.1:9");
		await using opened = await openSource({ repo, environment, connections: 2 });
		await expectTransformer(opened);
	});
});
