import { cp, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { crc32 } from "../../src/checksum/crc32.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { numel } from "../../src/core/shape.ts";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { locateEntryData } from "../../src/dcp/entry-reader.ts";
import { encodePrefix, encodeSuffix } from "../../src/dcp/torch-save.ts";
import { main } from "../../src/cli/main.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type LocalHub } from "../../src/demo/local-hub.ts";
import {
	convert,
	MANIFEST_NAME,
	type Manifest,
	parseConvertOptions,
	readManifest,
	type SourceComparison,
	verifyAgainstSource,
	verifyCheckpoint,
} from "../../src/index.ts";
import { encodeManifest } from "../../src/manifest/encode.ts";
import { createFakeIo } from "../support/cli-io.ts";
import { failure } from "../support/failure.ts";
import { runCli } from "../support/run-cli.ts";
import { writeCache, writeFiles } from "../support/open-source-model.ts";
import {
	tinyDeepseek,
	tinyFiles,
	tinyGptOss,
	type TinyModel,
} from "../support/quantised-models.ts";

const COMMIT = "c0ffee".padEnd(40, "0");
const MODEL = { ...createDemoModel(), commit: COMMIT };
const MESH = { dpShard: 4, tp: 2, ep: 4 };

let root = "";
let hub: LocalHub;

beforeAll(async () => {
	root = await mkdtemp(join(tmpdir(), "hf-stream-dcp-against-source-"));
	hub = await createLocalHub({ repos: [MODEL] });
	await converted("mesh", { parallelism: MESH });
});

afterAll(async () => {
	await hub[Symbol.asyncDispose]();
	await rm(root, { recursive: true });
});

const at = (name: string): string => join(root, name);

function environment(endpoint: string = hub.endpoint): { readonly [name: string]: string } {
	return { HF_ENDPOINT: endpoint, HF_HOME: at("home") };
}

async function converted(name: string, options: object): Promise<string> {
	const given = { repo: MODEL.id, out: at(name), threads: 1, environment: environment() };
	await convert(parseConvertOptions({ ...given, ...options }));
	return at(name);
}

async function dataBytesOf(directory: string): Promise<number> {
	const { tensors } = await readCheckpointIndex(directory);
	return tensors.reduce((sum, { shape, dtype }) => sum + numel(shape) * itemBytes(dtype), 0);
}

/** Bytes of ranges that the Hub's CDN was asked for while `action` ran. */
async function served<T>(action: () => Promise<T>): Promise<{ result: T; bytes: number }> {
	const before = hub.requests.length;
	const result = await action();
	const bytes = hub.requests
		.slice(before)
		.filter(({ origin, method }) => origin === "cdn" && method === "GET")
		.reduce((sum, request) => sum + request.bytes, 0);
	return { result, bytes };
}

async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
	await writeFile(join(directory, MANIFEST_NAME), [...encodeManifest(manifest)].join(""));
}

async function copyOf(name: string): Promise<string> {
	const directory = await mkdtemp(join(root, "copy-"));
	await cp(at(name), directory, { recursive: true });
	return directory;
}

describe("a conversion from the Hub", () => {
	test.each([
		["one rank", {}],
		["a mesh, little memory", { parallelism: MESH, memoryBytes: 2 ** 24 }],
		["float32 over three ranks", { parallelism: { dpShard: 3 }, dtype: "float32" }],
	])("is proved, all of it: %s", async (name, options) => {
		const directory = await converted(name, options);
		const { result, bytes } = await served(() =>
			verifyAgainstSource({ directory, sample: "all", environment: environment() }),
		);
		const dataBytes = await dataBytesOf(directory);
		expect(result).toMatchObject({
			repo: MODEL.id,
			commit: COMMIT,
			sourceKind: "hub",
			seed: undefined,
			problems: [],
			problemCount: 0,
			comparedBytes: dataBytes,
			dataBytes,
			differentElements: 0,
			notes: [],
		});
		expect(result.entries).toBe(result.allEntries);
		expect(result.recipeKinds).toBe(result.allRecipeKinds);
		expect(result.hashedFiles).toBe(result.sourceFiles);
		expect(bytes).toBe(result.fetchedBytes + result.headerBytes);
	});

	test("is proved in part: what is fetched is the sample, which its seed repeats", async () => {
		const look = (seed: number, sample = "10%") =>
			verifyAgainstSource({
				directory: at("mesh"),
				sample,
				seed,
				memoryBytes: 2 ** 24,
				environment: environment(),
			});
		const all = await look(0, "all");
		const { result, bytes } = await served(() => look(7));
		expect(result.problems).toEqual([]);
		expect(bytes).toBe(result.fetchedBytes + result.headerBytes);
		expect(result.fetchedBytes).toBeGreaterThanOrEqual(all.fetchedBytes / 10);
		expect(result.fetchedBytes).toBeLessThan(all.fetchedBytes);
		expect(result.comparedBytes).toBeLessThan(all.comparedBytes);
		expect(result.recipeKinds).toBe(all.allRecipeKinds);
		expect(all.allRecipeKinds).toBeGreaterThan(3);
		const again = await look(7);
		expect({ ...again, seconds: 0 }).toEqual({ ...result, seconds: 0 });
		const requestsOf = async (seed: number): Promise<readonly unknown[]> => {
			const before = hub.requests.length;
			await look(seed);
			return hub.requests.slice(before).map(({ path, range }) => [path, range]);
		};
		expect(await requestsOf(8)).not.toEqual(await requestsOf(9));
	});

	test("is proved from the cache, without the network", async () => {
		const cacheDir = at("cache");
		const { id: repo, files } = MODEL;
		await writeCache({ cacheDir, repo, commit: COMMIT, files, refs: ["main"] });
		const report = await verifyAgainstSource({
			directory: at("mesh"),
			sample: "all",
			environment: { HF_HUB_OFFLINE: "1", HF_HUB_CACHE: cacheDir },
		});
		expect(report).toMatchObject({ problems: [], sourceKind: "cache" });
		expect(report.notes).toEqual([
			"the weights were read from the cache of the Hub, not from the Hub itself",
		]);
	});

	test("of some ranks is proved as far as it is there", async () => {
		const options = { parallelism: MESH, localOutput: true, ranks: [2, 3] };
		const directory = await converted("local", options);
		const report = await verifyAgainstSource({
			directory,
			sample: "all",
			environment: environment(),
		});
		expect(report.problems).toEqual([]);
		const { tensors } = (await readManifest(directory))!;
		const held = tensors.flatMap(({ entries }) => entries.filter((one) => one.crc32 !== undefined));
		expect(report.entries).toBe(held.length);
		expect(report.comparedBytes).toBe(report.dataBytes);
		expect(report.dataBytes).toBeLessThan(await dataBytesOf(directory));
		expect(report.notes.join()).toContain("ranks 2-3");
	});
});

describe.each<[string, TinyModel, object]>([
	["FP8", tinyDeepseek(), { parallelism: { dpShard: 2, tp: 2, ep: 4 } }],
	["FP8, cut inside blocks", tinyDeepseek(), { parallelism: { dpShard: 2, tp: 2 } }],
	["FP8 as it is", tinyDeepseek(), { keepQuantized: true, target: "hf" }],
	["MXFP4, float32", tinyGptOss(), { parallelism: { dpShard: 8, tp: 2 }, dtype: "float32" }],
	["MXFP4", tinyGptOss(), { parallelism: { dpShard: 3 }, target: "hf" }],
])("quantised weights: %s", (name, model, options) => {
	test("are proved", async () => {
		const repo = at(`${name} model`);
		await writeFiles(repo, tinyFiles(model));
		const directory = await converted(name, { repo, memoryBytes: 2 ** 24, ...options });
		for (const sample of ["all", "1%"]) {
			const report = await verifyAgainstSource({ directory, sample });
			expect(report).toMatchObject({ problems: [], sourceKind: "directory", hashedFiles: 0 });
			expect(report.notes.join()).toContain("SHA-256 of 1 of 1 source files");
			expect(report.comparedBytes).toBeGreaterThan(0);
			expect(report.recipeKinds).toBe(report.allRecipeKinds);
			if (sample === "all") expect(report.comparedBytes).toBe(await dataBytesOf(directory));
		}
	});
});

describe("what is not what the source makes", () => {
	test("is found where every checksum was made again", async () => {
		const directory = await copyOf("mesh");
		const manifest = (await readManifest(directory))!;
		const { tensors } = await readCheckpointIndex(directory);
		const fqn = "layers.1.moe.experts.w2_EDF";
		const tensor = tensors.find((one) => one.fqn === fqn)!;
		const entry = tensor.entries.at(-1)!;
		const { dataOffset, dataBytes } = await locateEntryData(directory, entry);
		const path = join(directory, entry.file);
		const data = (await readFile(path)).subarray(dataOffset, dataOffset + dataBytes);
		const element = Math.floor(dataBytes / 4) + 1;
		data[2 * element]! ^= 1;
		const crc = crc32(data);
		const { dtype, offset } = entry;
		const whole = [
			encodePrefix(dtype, entry.box.size),
			data,
			encodeSuffix(dtype, entry.box.size, crc),
		];
		{
			await using file = await open(path, "r+");
			await file.write(Buffer.concat(whole), 0, undefined, offset);
		}
		await writeManifest(directory, {
			...manifest,
			tensors: manifest.tensors.map((one) => ({
				...one,
				entries: one.entries.map((other, index) =>
					one.fqn === fqn && index === tensor.entries.length - 1 ? { ...other, crc32: crc } : other,
				),
			})),
		});
		expect((await verifyCheckpoint({ directory })).problems).toEqual([]);
		const report = await verifyAgainstSource({
			directory,
			sample: "all",
			environment: environment(),
		});
		const place = dataOffset + 2 * element;
		expect(report.problems).toMatchObject([
			{ kind: "source", fqn, file: entry.file, range: { start: place, end: place + 2 } },
		]);
		const [difference] = report.differences;
		const size = entry.box.size;
		const inBox = [
			Math.floor(element / (size[1]! * size[2]!)),
			Math.floor(element / size[2]!) % size[1]!,
			element % size[2]!,
		];
		const index = inBox.map((position, axis) => position + entry.box.offset[axis]!);
		expect(difference).toMatchObject({ fqn, elements: 1, first: { index, offset: place } });
		const { found, expected } = difference!.first;
		expect(Number(found.bits) ^ Number(expected.bits)).toBe(1);
	});

	test("is a source whose weights changed under the same headers", async () => {
		const repo = at("moving");
		await writeFiles(repo, MODEL.files);
		const directory = await converted("from a directory", { repo, parallelism: { dpShard: 2 } });
		const [name] = [...MODEL.files.keys()].filter((path) => path.endsWith(".safetensors"));
		const bytes = Buffer.from(MODEL.files.get(name!)!);
		bytes[bytes.length - 1]! ^= 1;
		await writeFile(join(repo, name!), bytes);
		const report = await verifyAgainstSource({ directory, sample: "all" });
		expect(report).toMatchObject({ problemCount: 1, differentElements: 1 });
		expect(report.problems[0]).toMatchObject({ kind: "source" });
		// Where the source is now is asked for, not guessed.
		await writeFiles(at("moved"), MODEL.files);
		const moved = await verifyAgainstSource({ directory, source: at("moved"), sample: "all" });
		expect(moved.problems).toEqual([]);
		await rm(repo, { recursive: true });
		const gone = await failure(verifyAgainstSource({ directory }));
		expect(gone.code).toBe("SOURCE_UNREADABLE");
	});

	test("is a source that is another one", async () => {
		const [name] = [...MODEL.files.keys()].filter((path) => path.endsWith(".safetensors"));
		const bytes = Buffer.from(MODEL.files.get(name!)!);
		bytes[bytes.length - 1]! ^= 1;
		const files = new Map(MODEL.files).set(name!, bytes);
		await using other = await createLocalHub({ repos: [{ id: MODEL.id, files, commit: COMMIT }] });
		const look = verifyAgainstSource({
			directory: at("mesh"),
			environment: environment(other.endpoint),
		});
		const error = await failure(look);
		expect(error.code).toBe("SOURCE_CHANGED");
		expect(error.message).toContain("has the SHA-256");
		expect(error.facts["differences"]).toHaveLength(1);
		expect(other.requests.some(({ path }) => path.includes(COMMIT))).toBe(true);

		const header = JSON.stringify({
			"a.weight": { dtype: "BF16", shape: [2], data_offsets: [0, 4] },
		});
		const small = Buffer.concat([Buffer.alloc(8), Buffer.from(header), Buffer.alloc(4)]);
		small.writeBigUInt64LE(BigInt(header.length));
		await writeFiles(at("other model"), new Map([["model.safetensors", small]]));
		const wrong = await failure(
			verifyAgainstSource({ directory: at("mesh"), source: at("other model") }),
		);
		expect(wrong.code).toBe("SOURCE_CHANGED");
		expect(wrong.message).toContain("and");
		expect(wrong.hint).toContain("--source");
	});

	test("is a commit that the Hub no longer has", async () => {
		await using other = await createLocalHub({ repos: [{ ...MODEL, commit: "1".repeat(40) }] });
		const look = verifyAgainstSource({
			directory: at("mesh"),
			environment: environment(other.endpoint),
		});
		expect((await failure(look)).code).toBe("HUB_NOT_FOUND");
	});

	test("is a manifest that says something else than .metadata", async () => {
		const directory = await copyOf("mesh");
		const manifest = (await readManifest(directory))!;
		const tensors = manifest.tensors.filter(({ fqn }) => fqn !== "norm.weight");
		await writeManifest(directory, { ...manifest, tensors });
		const report = await verifyAgainstSource({
			directory,
			sample: "1%",
			environment: environment(),
		});
		expect(report.problems).toMatchObject([{ kind: "manifest", fqn: "norm.weight" }]);
	});

	test("is a checkpoint without a manifest, or options that say nothing", async () => {
		const directory = await copyOf("mesh");
		for (const wrong of [{ sample: "a lot" }, { sample: "0%" }, { sample: "120%" }, { seed: -1 }]) {
			const error = await failure(verifyAgainstSource({ directory, ...wrong }));
			expect(error.code).toBe("OPTIONS_INVALID");
		}
		await rm(join(directory, MANIFEST_NAME));
		expect((await failure(verifyAgainstSource({ directory }))).code).toBe("CHECKPOINT_CORRUPT");
	});

	test("is a container that torch would not read, and a file that is not there", async () => {
		const directory = await copyOf("mesh");
		const { tensors } = await readCheckpointIndex(directory);
		const entries = tensors.flatMap((tensor) => tensor.entries);
		const [entry] = entries;
		const other = entries.find(({ file }) => file !== entry!.file)!;
		const path = join(directory, entry!.file);
		const bytes = await readFile(path);
		bytes[entry!.offset + entry!.length - 22]! ^= 1;
		await writeFile(path, bytes);
		await rm(join(directory, other.file));
		const report = await verifyAgainstSource({
			directory,
			sample: "all",
			environment: environment(),
		});
		expect(report.problems.map(({ kind, file }) => [kind, file])).toEqual([
			["missing", other.file],
			["container", entry!.file],
		]);
	});
});

describe("verify --hub", () => {
	const verify = (...flags: readonly string[]) =>
		runCli(["verify", at("mesh"), ...flags], environment());

	test("says what was compared, how much was fetched, and how to look again", async () => {
		const { code, stdout, stderr } = await verify("--hub", "--sample", "5%", "--quiet");
		expect(`${code} ${stderr}`).toBe("0 ");
		expect(stdout).toContain(`${at("mesh")}: it holds what its source makes`);
		expect(stdout).toMatch(
			/^source {4}demo\/\S+ @ c0ffee000000, headers as in the manifest, SHA-256 of/m,
		);
		expect(stdout).toMatch(/^fetched {3}[\d.]+ [kM]B in \d+ requests?, and/m);
		const seed = /--seed (\d+) looks at the same again/.exec(stdout)?.[1];
		const json = await verify("--hub", "--sample", "5%", "--seed", seed!, "--json", "--quiet");
		const report = JSON.parse(json.stdout) as SourceComparison;
		expect(report).toMatchObject({ seed: Number(seed), problems: [], commit: COMMIT });
	});

	test.each([
		[["--hub", "--quick"], "--quick and --hub exclude each other"],
		[["--sample", "1%"], "--sample means nothing without --hub"],
		[["--hub", "--ignore-missing"], "--ignore-missing means nothing without --against"],
		[["--memory", "1GB"], "--memory means nothing without --hub or --against"],
		[["--hub", "--seed", "x"], "--seed: expected a whole number"],
		[["--hub", "--sample", "x"], "sample: expected all, a part such as 1%"],
		[["--hub", "--memory", "1"], "too small"],
	])("%j is refused", async (flags, message) => {
		const io = { ...createFakeIo(), env: environment() };
		expect(await main(["verify", at("mesh"), ...flags], io)).toBe(message === "too small" ? 4 : 2);
		expect(io.takeErr()).toContain(message);
	});

	test("--against says which element differs first, with exit code 6", async () => {
		const directory = await copyOf("mesh");
		const { tensors } = await readCheckpointIndex(directory);
		const entry = tensors.find(({ fqn }) => fqn === "norm.weight")!.entries[0]!;
		const { dataOffset } = await locateEntryData(directory, entry);
		{
			await using file = await open(join(directory, entry.file), "r+");
			await file.write(Buffer.from([0x80, 0x3f]), 0, 2, dataOffset + 6);
		}
		const { code, stdout, stderr } = await runCli(
			["verify", directory, "--against", at("mesh"), "--quiet"],
			{},
		);
		expect(code).toBe(6);
		expect(stdout).toContain(`1 problem, 1 element differ`);
		const index = `[${entry.box.offset[0]! + 3}]`;
		expect(stdout).toContain(
			`1 element of "norm.weight" differs; the first is ${index}: 1 (0x3f80) instead of`,
		);
		expect(stderr).toContain(`${directory} does not hold what ${at("mesh")} holds: 1 problem`);
		const good = await runCli(["verify", at("mesh"), "--against", at("mesh"), "--json"], {});
		expect(JSON.parse(good.stdout)).toMatchObject({ problemCount: 0 });
	});
});
