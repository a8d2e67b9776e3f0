import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { SourceTensor } from "../../src/core/source.ts";
import { findWeights } from "../../src/fetch/find-weights.ts";
import { mapConcurrently } from "../../src/fetch/map-concurrently.ts";
import type { FileHeader } from "../../src/fetch/read-headers.ts";
import { formatNames, isSafePath, type RepoFiles } from "../../src/fetch/repo-files.ts";
import { assertRepoId } from "../../src/fetch/repo-id.ts";
import { selectTensors } from "../../src/fetch/select-tensors.ts";
import { parseWeightIndex } from "../../src/fetch/weight-index.ts";

const INDEX = "model.safetensors.index.json";

async function failure(action: () => unknown) {
	try {
		await action();
	} catch (error) {
		if (isHfStreamDcpError(error)) return error;
		throw error;
	}
	throw new Error("no error");
}

describe("safe paths", () => {
	test.each([
		"model.safetensors",
		"model-00001-of-00002.safetensors",
		"sub/folder/model.safetensors",
		"a b.safetensors",
		"a..b",
		"...",
		"100%.safetensors",
		"50%25.safetensors",
		"é😀",
		".hidden",
	])("%j is safe", (path) => {
		expect(isSafePath(path)).toBe(true);
	});

	test.each([
		"",
		"/",
		"/etc/passwd",
		"a//b",
		"a/",
		".",
		"..",
		"../a",
		"a/../b",
		"a/./b",
		"a/..",
		"\\a",
		"a\\..\\b",
		"C:/a",
		"c:a",
		"https://host/a",
		"file:a",
		"a\u0000b",
		"a\nb",
		"a\u007f",
		"%2e%2e/a",
		"%2E./a",
		"a%2f..%2fb",
		"%2fetc",
		"a%5cb",
		"a%00b",
		"%252e%252e/a",
		"%25252e%25252e%25252fa",
		"%zz/%2e%2e/a",
		`${"%25".repeat(1)}${"25".repeat(20)}2e`,
		"http%3a//host",
	])("%j is not", (path) => {
		expect(isSafePath(path)).toBe(false);
	});
});

describe("repository names", () => {
	test.each(["gpt2", "org/name", "Foo-BAR_foo.bar123", "a/b", "1/2", "_a/b_", "a".repeat(96)])(
		"%s",
		(repo) => {
			expect(() => assertRepoId(repo)).not.toThrow();
		},
	);

	test.each([
		"",
		"a/b/c",
		"a/",
		"/b",
		"a b",
		"a--b/c",
		"a..b",
		".a",
		"a.",
		"-a/b",
		"a-/b",
		"a/b.git",
		"café/x",
		"a\n",
		"a/b\n",
		"a".repeat(97),
		"https://huggingface.co/org/name",
		"org/name@main",
		"../x",
	])("refuses %j", async (repo) => {
		expect((await failure(() => assertRepoId(repo))).code).toBe("OPTIONS_INVALID");
	});
});

function parse(text: string) {
	return parseWeightIndex(Buffer.from(text), INDEX);
}

describe("the weight index", () => {
	test("maps tensors to files and ignores everything else", () => {
		const text =
			'{"metadata":{"total_size":"12","total_parameters":1.5,"x":null},' +
			'"weight_map":{"a":"m-1.safetensors","__proto__":"sub/m-2.safetensors"},"more":[{}]}';
		expect([...parse(text)]).toEqual([
			["a", "m-1.safetensors"],
			["__proto__", "sub/m-2.safetensors"],
		]);
	});

	test.each([
		["", "expected an object, but the text ends (byte 0)"],
		["[]", 'expected an object, found "[" (byte 0)'],
		["{}", "its weight_map is missing or empty"],
		['{"weight_map":{}}', "its weight_map is missing or empty"],
		['{"weight_map":null}', 'expected an object, found "n" (byte 14)'],
		['{"weight_map":{"a":1}}', 'expected a string, found "1" (byte 19)'],
		['{"weight_map":{"a":["m.safetensors"]}}', 'expected a string, found "[" (byte 19)'],
		[
			'{"weight_map":{"a":"m.safetensors","a":"m.safetensors"}}',
			'the key "a" is there twice (byte 35)',
		],
		[
			'{"weight_map":{"a":"m.safetensors"},"weight_map":{"a":"m.safetensors"}}',
			'the key "weight_map" is there twice (byte 36)',
		],
		['{"weight_map":{"a":"m.safetensors"}', 'expected "," or "}", but the text ends (byte 35)'],
		['{"weight_map":{"a":"m.safetensors"}}x', 'expected the end, found "x" (byte 36)'],
	])("refuses %s", async (text, problem) => {
		const error = await failure(() => parse(text));
		expect(error.code).toBe("INDEX_INVALID");
		expect(error.message).toBe(`${INDEX} is not a valid weight index: ${problem}`);
	});

	test.each([
		"../m.safetensors",
		"/m.safetensors",
		"%2e%2e/m.safetensors",
		"m.bin",
		"",
		"https://h/m.safetensors",
	])("refuses the path %j", async (path) => {
		const error = await failure(() => parse(JSON.stringify({ weight_map: { w: path } })));
		expect(error.code).toBe("INDEX_INVALID");
		expect(error.message).toContain(`tensor "w" is said to be in ${JSON.stringify(path)}`);
	});

	test("is read when it is large", () => {
		const names = Array.from({ length: 200_000 }, (_, i) => [
			`model.layers.${i}.weight`,
			`model-${i % 9}.safetensors`,
		]);
		const index = parse(JSON.stringify({ weight_map: Object.fromEntries(names) }));
		expect(index.size).toBe(200_000);
		expect(index.get("model.layers.123456.weight")).toBe("model-3.safetensors");
	});
});

/** Files with one byte each; an index is made of `weightMap`. */
function repoOf(paths: readonly string[], weightMap?: Record<string, string>): RepoFiles {
	const all = [...paths, ...(weightMap === undefined ? [] : [INDEX])];
	const list = all.map((path) => ({ path, bytes: 1 }));
	return {
		name: "org/name",
		list,
		find: async (path) => list.find((file) => file.path === path),
		read: async () => Buffer.from(JSON.stringify({ weight_map: weightMap })),
	};
}

const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const OTHERS = [
	"config.json",
	"model.fp16.safetensors",
	"consolidated.safetensors",
	"consolidated.00.safetensors",
	"adapter_model.safetensors",
	"pytorch_model.bin",
	"unet/diffusion_pytorch_model.safetensors",
	"original/model.safetensors",
];

describe("which files make the model", () => {
	async function find(paths: readonly string[], weightMap?: Record<string, string>) {
		const { files, index, warnings } = await findWeights(repoOf([...paths, ...OTHERS], weightMap));
		return { files: files.map(({ path }) => path), index: index?.size, warnings: warnings.length };
	}

	test("one file", async () => {
		expect(await find(["model.safetensors"])).toEqual({
			files: ["model.safetensors"],
			index: undefined,
			warnings: 0,
		});
	});

	test("the files that the index names, each once, in order", async () => {
		const map = { a: SHARDS[1]!, b: SHARDS[0]!, c: SHARDS[1]! };
		expect(await find([...SHARDS, "model-00003-of-00003.safetensors"], map)).toEqual({
			files: SHARDS,
			index: 3,
			warnings: 0,
		});
	});

	test("an index may name sub-folders and files of any name", async () => {
		const map = { a: "original/model.safetensors", b: "consolidated.00.safetensors" };
		expect((await find([], map)).files).toEqual([
			"consolidated.00.safetensors",
			"original/model.safetensors",
		]);
	});

	test("one file with an index of its own", async () => {
		expect(await find(["model.safetensors"], { a: "model.safetensors" })).toEqual({
			files: ["model.safetensors"],
			index: 1,
			warnings: 0,
		});
	});

	test("one file beside an index of others: the file, with a warning", async () => {
		expect(await find(["model.safetensors", ...SHARDS], { a: SHARDS[0]! })).toEqual({
			files: ["model.safetensors"],
			index: undefined,
			warnings: 1,
		});
	});

	test("a complete set of shards without an index, with a warning", async () => {
		expect(await find(SHARDS.toReversed())).toEqual({
			files: SHARDS,
			index: undefined,
			warnings: 1,
		});
	});

	test.each([
		[
			"a missing shard",
			[SHARDS[1]!],
			"its 1 shards are not one complete set of 2, without numbers 00001",
		],
		[
			"two sets",
			[...SHARDS, "model-00001-of-00001.safetensors"],
			"its 3 shards are not one complete set of 1 or 2",
		],
		[
			"number 0",
			["model-00000-of-00001.safetensors"],
			"its 1 shards are not one complete set of 1, without numbers 00001",
		],
		[
			"a set of none",
			["model-00000-of-00000.safetensors"],
			"its 1 shards are not one complete set of 0",
		],
	])("shards without an index: %s", async (_, paths, message) => {
		const error = await failure(() => find(paths));
		expect(error.code).toBe("SOURCE_UNREADABLE");
		expect(error.message).toContain(message);
	});

	test("an index that names files that are not there", async () => {
		const error = await failure(() =>
			find([SHARDS[0]!], { a: SHARDS[0]!, b: SHARDS[1]!, c: "x.safetensors" }),
		);
		expect(error.code).toBe("INDEX_INVALID");
		expect(error.message).toBe(
			`${INDEX} names 3 files, but org/name lacks 2 of them: ${SHARDS[1]}, x.safetensors`,
		);
	});

	test.each([
		[
			"only files of other names",
			OTHERS,
			"none with the names of a transformers model: model.fp16.safetensors, consolidated",
		],
		[
			"only PyTorch files",
			["config.json", "pytorch_model-00001-of-00002.bin"],
			"its weights are in pytorch_model-00001-of-00002.bin",
		],
		["only GGUF", ["model-q4.gguf"], "its weights are in model-q4.gguf"],
		["no weights", ["README.md"], "org/name has no weights"],
		["nothing", [], "org/name has no weights"],
		[
			"a variant's index",
			["model.safetensors.index.fp16.json"],
			"model.safetensors.index.fp16.json",
		],
	])("%s", async (_, paths, message) => {
		const error = await failure(() => findWeights(repoOf(paths)));
		expect(error.code).toBe("SOURCE_UNREADABLE");
		expect(error.message).toContain(message);
		expect(error.hint).toBeDefined();
	});
});

/** Files by path; those that are text can be read. */
function repoWith(files: Readonly<Record<string, unknown>>): RepoFiles {
	const list = Object.keys(files).map((path) => ({ path, bytes: 1 }));
	return {
		name: "org/name",
		list,
		find: async (path) => list.find((file) => file.path === path),
		read: async (path) => Buffer.from(JSON.stringify(files[path])),
	};
}

describe("the weights of a diffusion model", () => {
	const pipeline = {
		_class_name: "FluxPipeline",
		transformer: ["diffusers", "FluxTransformer2DModel"],
		vae: ["diffusers", "AutoencoderKL"],
	};
	const name = "diffusion_pytorch_model";
	const parts = {
		"model_index.json": pipeline,
		"flux1-dev.safetensors": "",
		"ae.safetensors": "",
		[`vae/${name}.safetensors`]: "",
		"text_encoder/model.safetensors": "",
		"transformer/config.json": {},
	};

	test("are those of the pipeline's transformer, whose index names files beside it", async () => {
		const index = { weight_map: { a: `${name}-2.safetensors`, b: `${name}-1.safetensors` } };
		const found = await findWeights(
			repoWith({
				...parts,
				[`transformer/${name}.safetensors.index.json`]: index,
				[`transformer/${name}-1.safetensors`]: "",
				[`transformer/${name}-2.safetensors`]: "",
			}),
		);
		expect(found.files.map(({ path }) => path)).toEqual([
			`transformer/${name}-1.safetensors`,
			`transformer/${name}-2.safetensors`,
		]);
		expect(found.index?.get("a")).toBe(`transformer/${name}-2.safetensors`);
		expect(found.folder).toBe("transformer/");
		expect(found.warnings).toEqual([
			"org/name is a diffusers pipeline (FluxPipeline), of which transformer/ is taken",
		]);
	});

	test("may be one file", async () => {
		const found = await findWeights(
			repoWith({ ...parts, [`transformer/${name}.safetensors`]: "" }),
		);
		expect(found.files.map(({ path }) => path)).toEqual([`transformer/${name}.safetensors`]);
		expect(found.index).toBeUndefined();
	});

	test("may lie in the folder itself, where diffusers prefers the index", async () => {
		const files = { "config.json": {}, [`${name}.safetensors`]: "", [`${name}-1.safetensors`]: "" };
		expect((await findWeights(repoWith(files))).files.map(({ path }) => path)).toEqual([
			`${name}.safetensors`,
		]);
		const index = { weight_map: { a: `${name}-1.safetensors` } };
		const found = await findWeights(
			repoWith({ ...files, [`${name}.safetensors.index.json`]: index }),
		);
		expect(found.files.map(({ path }) => path)).toEqual([`${name}-1.safetensors`]);
		expect(found.folder).toBe("");
		expect(found.warnings).toHaveLength(1);
	});

	test("are not taken from a pipeline that has a transformers model as well", async () => {
		const found = await findWeights(repoWith({ ...parts, "model.safetensors": "" }));
		expect(found.files.map(({ path }) => path)).toEqual(["model.safetensors"]);
	});

	test.each([
		["no weights", parts, "has neither transformer/diffusion_pytorch_model.safetensors nor"],
		[
			"no transformer",
			{
				...parts,
				"model_index.json": { _class_name: "StableDiffusionPipeline", unet: ["a", "b"] },
			},
			"is a diffusers pipeline (StableDiffusionPipeline) without a transformer",
		],
		[
			"a transformer that is left out",
			{ ...parts, "model_index.json": { ...pipeline, transformer: [null, null] } },
			"(FluxPipeline) without a transformer",
		],
		["no pipeline file", { ...parts, "model_index.json": [] }, "does not say what the pipeline"],
	])("%s", async (_, files, message) => {
		const error = await failure(() => findWeights(repoWith(files)));
		expect(error.code).toBe("SOURCE_UNREADABLE");
		expect(error.message).toContain(message);
		expect(error.hint).toBeDefined();
	});
});

/** A file of one-byte tensors. */
function header(path: string, ...names: readonly string[]): FileHeader {
	const tensors = names.map((name, i): SourceTensor => ({
		name,
		dtype: "uint8",
		shape: [1],
		file: path,
		begin: 9 + i,
		end: 10 + i,
	}));
	return { file: { path, bytes: 9 + names.length, headerBytes: 9 }, tensors };
}

describe("which tensors make the model", () => {
	test("all of them without an index", () => {
		const { tensors, warnings } = selectTensors(
			[header("1", "a", "b"), header("2", "c")],
			undefined,
			INDEX,
		);
		expect(tensors.map(({ name }) => name)).toEqual(["a", "b", "c"]);
		expect(warnings).toEqual([]);
	});

	test("those that the index names, each from its file", () => {
		const index = new Map([
			["a", "1"],
			["b", "2"],
		]);
		const { tensors, warnings } = selectTensors(
			[header("1", "a", "b", "x"), header("2", "b", "y")],
			index,
			INDEX,
		);
		expect(tensors.map(({ name, file }) => name + file)).toEqual(["a1", "b2"]);
		expect(warnings).toEqual([
			`2 tensors are not named by ${INDEX} and left out: "x" in 1, "y" in 2`,
			`1 tensor is taken from another file by ${INDEX} and left out: "b" in 1`,
		]);
	});

	test("a name in two files is not guessed", async () => {
		const error = await failure(() =>
			selectTensors([header("1", "a"), header("2", "a")], undefined, INDEX),
		);
		expect(error.code).toBe("HEADER_INVALID");
		expect(error.message).toContain('tensor "a" is in 1 and in 2');
	});

	test("tensors that their files lack are listed, with where they are", async () => {
		const index = new Map([
			["a", "1"],
			["b", "1"],
			["c", "2"],
		]);
		const error = await failure(() =>
			selectTensors([header("1", "a"), header("2", "b")], index, INDEX),
		);
		expect(error.code).toBe("INDEX_INVALID");
		expect(error.message).toContain('lack: "b" (not in 1, but it is in 2), "c" (not in 2)');
		expect(error.facts).toMatchObject({ missing: ["b", "c"] });
	});
});

describe("doing several things at a time", () => {
	test("keeps the order and the limit", async () => {
		let running = 0;
		let most = 0;
		const results = await mapConcurrently([5, 1, 4, 2, 3], 2, async (item) => {
			running++;
			most = Math.max(most, running);
			for (let turn = 0; turn < item; turn++) await Promise.resolve();
			running--;
			return item * 10;
		});
		expect(results).toEqual([50, 10, 40, 20, 30]);
		expect(most).toBe(2);
	});

	test("a failure stops the others, and is reported when they have stopped", async () => {
		const stopped: number[] = [];
		const work = mapConcurrently([1, 2, 3, 4], 3, async (item, signal) => {
			if (item === 2) throw new Error("two");
			await new Promise((resolve) => signal.addEventListener("abort", resolve));
			stopped.push(item);
			signal.throwIfAborted();
		});
		await expect(work).rejects.toThrow("two");
		expect(stopped).toEqual([1, 3]);
	});

	test("an abort rejects with its reason", async () => {
		const controller = new AbortController();
		const work = mapConcurrently(
			[1, 2],
			2,
			async (_, signal) => {
				await new Promise((resolve) => signal.addEventListener("abort", resolve));
				throw new Error("something else");
			},
			controller.signal,
		);
		controller.abort(new Error("enough"));
		await expect(work).rejects.toThrow("enough");
		await expect(mapConcurrently([], 1, async () => 1, controller.signal)).rejects.toThrow(
			"enough",
		);
	});
});

test("long lists of names are cut", () => {
	expect(formatNames(["a", "b"])).toBe("a, b");
	expect(formatNames(["a", "b", "c"], 2)).toBe("a, b and 1 more");
});
