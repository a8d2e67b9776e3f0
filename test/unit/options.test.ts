import { describe, expect, test } from "vitest";
import { HfStreamDcpError } from "../../src/core/errors.ts";
import { parseSize } from "../../src/option-fields.ts";
import { parseConversionOptions, parseConvertOptions } from "../../src/parse-options.ts";

function issuesOf(input: unknown): unknown {
	try {
		parseConvertOptions(input);
	} catch (error) {
		expect(error).toBeInstanceOf(HfStreamDcpError);
		const { code, facts } = error as HfStreamDcpError;
		expect(code).toBe("OPTIONS_INVALID");
		return facts["issues"];
	}
	throw new Error("the options were accepted");
}

describe("parseSize", () => {
	test.each([
		["512MiB", 536_870_912],
		["2GB", 2_000_000_000],
		["1.5GiB", 1_610_612_736],
		["1.5 gib", 1_610_612_736],
		["64 kB", 64_000],
		["64KiB", 65_536],
		["1TiB", 1_099_511_627_776],
		["1048576", 1_048_576],
		["10 B", 10],
		["0.3kB", 300],
	])("%s is %i bytes", (text, bytes) => {
		expect(parseSize(text)).toBe(bytes);
	});

	test.each(["", "MiB", "2G", "-1MB", "1e3", "1,5GB", "1.GB", "0x10", "9999999TB", "2 GB GB"])(
		"%j is no size",
		(text) => {
			expect(parseSize(text)).toBeUndefined();
		},
	);
});

describe("parseConvertOptions", () => {
	test("fills in the defaults", () => {
		expect(parseConvertOptions({ repo: "org/name", out: "ckpt" })).toEqual({
			repo: "org/name",
			out: "ckpt",
			hash: "sha256",
			overwrite: false,
			worker: { index: 0, count: 1 },
			takeover: true,
			leaseSeconds: 60,
			keepQuantized: false,
			parallelism: {},
			memoryBytes: 256 * 1024 * 1024,
			connections: 16,
			threads: "auto",
			device: "auto",
			localWorkers: 1,
			localOutput: false,
		});
	});

	test.each([
		[{ like: "a", layout: "b" }, "layout"],
		[{ like: "a", parallelism: { tp: 2 } }, "parallelism.tp"],
		[{ layout: "b", parallelism: { worldSize: 8 } }, "parallelism.worldSize"],
	])("takes one layout: not %j", (given, path) => {
		expect(issuesOf({ repo: "org/name", out: "ckpt", ...given })).toEqual([
			{ path, message: expect.stringMatching(/leave/) as string },
		]);
	});

	test("accepts a layout instead of a mesh", () => {
		const options = { repo: "org/name", parallelism: {}, like: "ckpt/step-1" };
		expect(parseConversionOptions(options)).toMatchObject({ like: "ckpt/step-1" });
	});

	test("accepts the text of flags", () => {
		const options = parseConvertOptions({
			repo: "org/name",
			out: "ckpt",
			memoryBytes: "1GiB",
			connections: "4",
			threads: "3",
			dtype: "bfloat16",
			parallelism: { tp: "8", dpShard: "-1", worldSize: "64", firstStageLessLayers: "0" },
		});
		expect(options).toMatchObject({
			memoryBytes: 1024 ** 3,
			connections: 4,
			threads: 3,
			dtype: "bfloat16",
			parallelism: { tp: 8, dpShard: -1, worldSize: 64, firstStageLessLayers: 0 },
		});
	});

	test.each<[unknown, readonly number[]]>([
		["0-3, 16", [0, 1, 2, 3, 16]],
		["7", [7]],
		[
			[1, 2],
			[1, 2],
		],
	])("reads ranks from %j", (ranks, expected) => {
		expect(parseConvertOptions({ repo: "x/y", out: "o", ranks }).ranks).toEqual(expected);
	});

	test.each(["", "1-", "3-1", "a", "0-9999999", "1,,2", [], [-1], 3])(
		"refuses %j as ranks",
		(ranks) => {
			expect(issuesOf({ repo: "x/y", out: "o", ranks })).toEqual([
				expect.objectContaining({ path: expect.stringMatching(/^ranks/) as unknown }),
			]);
		},
	);

	test.each([
		[{ index: 2, count: 2 }, "worker"],
		[{ index: -1, count: 2 }, "worker.index"],
		[{ index: 0, count: 0 }, "worker.count"],
	])("refuses %j as a worker", (worker, path) => {
		expect(issuesOf({ repo: "x/y", out: "o", worker })).toContainEqual(
			expect.objectContaining({ path }),
		);
	});

	test("is idempotent", () => {
		const once = parseConvertOptions({
			repo: "org/name",
			out: "ckpt",
			parallelism: { pp: "2", moduleFqnsPerModelPart: "a,b;c" },
			signal: new AbortController().signal,
			onEvent: () => {},
			environment: { HF_TOKEN: "x" },
		});
		expect(parseConvertOptions(once)).toEqual(once);
	});

	test.each([
		[
			"tok_embeddings,layers.0; layers.1,norm ,lm_head",
			[
				["tok_embeddings", "layers.0"],
				["layers.1", "norm", "lm_head"],
			],
		],
		['[["tok_embeddings"], ["norm"]]', [["tok_embeddings"], ["norm"]]],
		[
			[["a"], ["b"]],
			[["a"], ["b"]],
		],
	])("reads module names of stages from %j", (input, parts) => {
		const options = parseConversionOptions({
			repo: "x/y",
			parallelism: { moduleFqnsPerModelPart: input },
		});
		expect(options.parallelism.moduleFqnsPerModelPart).toEqual(parts);
	});

	test.each(["", "a,;b", "[1]", "[[]]", "[", '["a"]', 7])(
		"refuses %j as module names of stages",
		(input) => {
			const issues = issuesOf({
				repo: "x/y",
				out: "o",
				parallelism: { moduleFqnsPerModelPart: input },
			});
			expect(issues).toEqual([
				expect.objectContaining({
					path: expect.stringMatching(/^parallelism\.moduleFqnsPerModelPart/),
				}),
			]);
		},
	);

	test("names every wrong option by its path", () => {
		expect(
			issuesOf({
				out: " ",
				dtype: "int8",
				memoryBytes: "2G",
				connections: 0,
				threads: "many",
				overwrite: "yes",
				parallelism: { tp: 0, dpShard: 0, ep: "two", cp: 1.5, firstStageLessLayers: -1 },
			}),
		).toEqual([
			{ path: "repo", message: "is missing" },
			{ path: "dtype", message: 'expected one of keep, bfloat16, float16, float32, got "int8"' },
			{
				path: "parallelism.dpShard",
				message: "expected a whole number of at least 1, or -1 for the ranks that are left, got 0",
			},
			{ path: "parallelism.tp", message: "expected a whole number of at least 1, got 0" },
			{ path: "parallelism.cp", message: "expected a whole number of at least 1, got 1.5" },
			{ path: "parallelism.ep", message: 'expected a whole number of at least 1, got "two"' },
			{
				path: "parallelism.firstStageLessLayers",
				message: "expected a whole number of at least 0, got -1",
			},
			{
				path: "memoryBytes",
				message: 'expected a size such as 256MiB, 2GB or a number of bytes, got "2G"',
			},
			{ path: "connections", message: "expected a whole number from 1 to 256, got 0" },
			{
				path: "threads",
				message: 'expected a whole number from 1 to 1024, or auto, got "many"',
			},
			{ path: "out", message: 'expected a directory for the checkpoint, got ""' },
			{ path: "overwrite", message: 'expected true or false, got "yes"' },
		]);
	});

	test("says once that a number is too large to count with", () => {
		expect(issuesOf({ repo: "x/y", out: "o", parallelism: { tp: "9".repeat(20) } })).toHaveLength(
			1,
		);
	});

	test("refuses options that do not exist", () => {
		expect(issuesOf({ repo: "x/y", out: "o", dpShard: 8, parallelism: { tpp: 1 } })).toEqual([
			{ path: "parallelism.tpp", message: "there is no such option" },
			{ path: "dpShard", message: "there is no such option" },
		]);
	});

	test.each([undefined, null, 7, "repo", []])("refuses %j as options", (input) => {
		expect(issuesOf(input)).not.toEqual([]);
	});
});
