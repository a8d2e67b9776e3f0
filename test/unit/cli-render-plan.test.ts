import { describe, expect, test } from "vitest";
import { planJson, qkvRows, renderPlan } from "../../src/cli/render-plan.ts";
import { summariseNotes } from "../../src/cli/summarise-notes.ts";
import { renderSummary } from "../../src/cli/render-summary.ts";
import type { ConvertSummary, Plan, Preparation } from "../../src/index.ts";
import { parseConvertOptions } from "../../src/parse-options.ts";

const PLAN: Plan = {
	version: 1,
	source: {
		repo: "org/name",
		commit: "0123456789abcdef0123456789abcdef01234567",
		files: [{ path: "model.safetensors", bytes: 1_000_500, headerBytes: 500 }],
		tensors: [
			{
				name: "a",
				dtype: "bfloat16",
				shape: [500_000],
				file: "model.safetensors",
				begin: 500,
				end: 1_000_500,
			},
		],
		config: { model_type: "llama" },
	},
	family: "llama3",
	target: "torchtitan@2026-06",
	layout: "fsdp 2 (2 ranks)",
	worldSize: 2,
	shares: 1,
	format: "torch.save",
	tensors: [],
	entries: [],
	files: [{ name: "__0_0.distcp", bytes: 500_700 }],
	tiles: [],
	limits: {
		budgetBytes: 2 ** 29,
		memoryBytes: 2 ** 28,
		writeBufferBytes: 2 ** 24,
		tileBytes: 2 ** 25,
		maxTileBytes: 2 ** 27,
		requestBytes: 2 ** 24,
	},
	tied: [{ name: "a", reason: "stored under both keys" }],
	dropped: [
		{ name: "vision_model.a", reason: "vision tensors are not part of the text model" },
		{ name: "vision_model.b", reason: "vision tensors are not part of the text model" },
		{ name: "vision_model.c", reason: "vision tensors are not part of the text model" },
		{ name: "vision_model.d", reason: "vision tensors are not part of the text model" },
		{ name: "inv_freq", reason: "computed by the model" },
	],
	synthesised: ["layers.0.moe.expert_bias_E"],
	dequantised: [
		{ name: "x.weight", reason: "FP8 in blocks of 128 × 128 becomes bfloat16" },
		{ name: "y.weight", reason: "FP8 in blocks of 128 × 128 becomes bfloat16" },
	],
	totals: {
		fetchBytes: 1_000_000,
		requests: 1,
		writeBytes: 1_001_400,
		entries: 2,
		entriesCut: 1,
		entriesCutForShares: 0,
		files: 2,
		memoryBytes: 2 ** 28,
		largestTileBytes: 2 ** 20,
		rankBytes: { min: 400_000, max: 600_000 },
	},
};

const THREAD: Preparation["threads"][number] = { ...PLAN.totals, connections: 8 };

const DEVICE: Preparation["device"] = {
	asked: "auto",
	chosen: "cpu",
	reason: "little",
	heavyBytes: 0,
};

const WORKER: Preparation["workers"][number] = PLAN.totals;

const PREPARATION: Preparation = {
	plan: PLAN,
	sourceKind: "hub",
	coverage: {
		used: 1087,
		tied: 1,
		dropped: [
			{
				reason: "vision_model.*: not part of the text model",
				tensors: 412,
				first: "vision_model.a",
			},
			{ reason: "inv_freq: computed", tensors: 1, first: "inv_freq" },
		],
		synthesised: 1,
	},
	headerBytes: 500,
	metadataBytes: 1234,
	wholeQkvBytes: 0,
	workers: [WORKER],
	balance: { maxBytes: 1_000_000, meanBytes: 1_000_000, emptyShares: 0 },
	threads: [THREAD],
	device: DEVICE,
	threadsReason: "bytes",
	warnings: ["look out"],
	meshes: [],
	holders: () => ({ sets: [], setOf: new Uint32Array() }),
	[Symbol.asyncDispose]: async () => {},
};

const WRITES: ConvertSummary["writes"] = {
	mode: "direct",
	directBytes: 480_000,
	bufferedBytes: 20_000,
	calls: 6,
	refusals: 0,
};

const SUMMARY: ConvertSummary = {
	plan: PLAN,
	totals: PLAN.totals,
	directory: "/ckpt",
	outcome: "committed",
	job: undefined,
	ranks: undefined,
	shares: [],
	sourceKind: "hub",
	device: { ...DEVICE, batches: 0, redone: 0, lost: [] },
	backend: "cpu",
	seconds: 2,
	fetchedBytes: 500_000,
	requests: 1,
	retries: 3,
	headerBytes: 500,
	transport: { connections: 4, hedges: 1, fallbacks: { "a proxy is configured": 2 } },
	writtenBytes: 500_000,
	writes: WRITES,
	copiedBytes: 0,
	checksums: "native",
	metadataBytes: 1234,
	wholeQkvBytes: 0,
	resumedEntries: 1,
	peakStagingBytes: 1,
	threads: [
		{
			fetchedBytes: 500_000,
			requests: 1,
			retries: 3,
			writtenBytes: 500_000,
			directBytes: 500_000,
			copiedBytes: 0,
			entries: 1,
			resumedEntries: 1,
			peakStagingBytes: 1,
			seconds: 1,
			backend: "cpu",
			writes: WRITES,
		},
	],
	threadsReason: "bytes",
	warnings: [],
};

test("names are summarised by reason", () => {
	expect(summariseNotes(PLAN.dropped)).toEqual([
		"4 tensors: vision tensors are not part of the text model (vision_model.a, …)",
		"1 tensor: computed by the model (inv_freq)",
	]);
});

test("the plan as a table", () => {
	expect(renderPlan(PREPARATION)).toMatchInlineSnapshot(`
		"source     org/name @ 0123456789ab (hub)
		           1 file, 1 tensor, 500 B of headers read
		           used 1,087, each element once; tied 1; dropped 412 vision_model.*, 1 inv_freq
		target     torchtitan@2026-06, family llama3
		mesh       fsdp 2 (2 ranks)
		fetch      1.00 MB in 1 request
		write      1.00 MB: 2 files, 2 entries of 0 tensors
		.metadata  1.23 kB
		per rank   400 kB to 600 kB
		memory     256 MiB for staging and buffers at most, of a budget of 512 MiB
		           it costs 1 entry more than a larger one: blocks are cut to fit into it
		tiles      0, the largest 1 MiB
		threads    1 (one for every 2 GiB to fetch)
		device     cpu (nothing here is quicker on a GPU)
		quantised  2 weights: FP8 in blocks of 128 × 128 becomes bfloat16 (x.weight, …)
		dropped    4 tensors: vision tensors are not part of the text model (vision_model.a, …)
		dropped    1 tensor: computed by the model (inv_freq)
		tied       1 tensor: stored under both keys (a)
		added      1 tensor that no source has (layers.0.moe.expert_bias_E)"
	`);
});

test("what each of several workers is to do", () => {
	const { totals } = PLAN;
	const workers = [
		{ ...WORKER, fetchBytes: 1_000_000, writeBytes: 1_100_000 },
		{ ...WORKER, fetchBytes: 800_000, writeBytes: 900_000 },
		{ ...WORKER, fetchBytes: 0, writeBytes: 0, requests: 0, entries: 0, files: 0 },
	];
	const plan = { ...PLAN, totals: { ...totals, entriesCutForShares: 5 } };
	const balance = { maxBytes: 2_100_000, meanBytes: 3_800_000 / 3, emptyShares: 1 };
	const [table = "", rest] = renderPlan({ ...PREPARATION, plan, workers, balance }).split("\n\n");
	expect(table.split("\n").filter((line) => /^workers|they cost|^memory/.test(line)))
		.toMatchInlineSnapshot(`
		[
		  "memory     256 MiB for staging and buffers at most, of a budget of 512 MiB, in each worker",
		  "workers    3; the most that one has to do is 1.66 times the mean; 1 of them has nothing to do",
		  "           they cost 5 entries more than one worker: blocks are cut between them",
		]
	`);
	expect(rest).toMatchInlineSnapshot(`
		"worker       in  requests      out  files  entries   memory
		     0  1.00 MB         1  1.10 MB      2        2  256 MiB
		     1   800 kB         1   900 kB      2        2  256 MiB
		     2      0 B         0      0 B      0        0  256 MiB"
	`);
});

test("of many workers those with the most to do are listed", () => {
	const workers = Array.from({ length: 100 }, (_, index) => ({
		...WORKER,
		fetchBytes: index,
	}));
	const lines =
		renderPlan({ ...PREPARATION, workers })
			.split("\n\n")[1]
			?.split("\n") ?? [];
	expect(lines).toHaveLength(1 + 32 + 1);
	expect(lines[1]).toMatch(/^ +99 /);
	expect(lines.at(-1)).toBe("the 32 with the most to do; --json lists 100");
});

test("what each of several threads is to do", () => {
	const other = { ...THREAD, fetchBytes: 400_000, requests: 2, connections: 1 };
	const text = renderPlan({ ...PREPARATION, threads: [THREAD, other], threadsReason: "cores" });
	expect(text.split("\n").filter((line) => /^threads|^memory|^ +\d:/.test(line))).toEqual([
		"memory     512 MiB for staging and buffers at most, of a budget of 512 MiB for each thread",
		"threads    2 (one for every core this process may use)",
		"           1: 1.00 MB in by 1 request, 1.00 MB out, 2 entries of 2 files; 256 MiB, 8 connections",
		"           2: 400 kB in by 2 requests, 1.00 MB out, 2 entries of 2 files; 256 MiB, 1 connection",
	]);
});

describe("what fused QKV costs", () => {
	test("is said in the plan and in the summary", () => {
		const wholeQkvBytes = 1_310_000;
		const options = parseConvertOptions({ repo: "org/name", out: "/ckpt" });
		for (const text of [
			renderPlan({ ...PREPARATION, wholeQkvBytes }),
			renderSummary({ ...SUMMARY, wholeQkvBytes }, options),
		]) {
			expect(text).toMatch(/^whole QKV +every rank reads up to 1\.31 MB of wq, wk, wv whole: /m);
			expect(text).toMatch(/without fused QKV: --target torchtitan@2026-06\+unfused$/m);
		}
	});

	test("a release that must be asked to fuse is left without the wish", () => {
		const [, [, hint] = []] = qkvRows({ target: "torchtitan@2026-06-18+fused" }, 1);
		expect(hint).toMatch(/--target torchtitan@2026-06-18$/);
	});
});

describe("the plan as JSON", () => {
	const text = [...planJson(PREPARATION)].join("");

	test("is the plan", () => {
		const { [Symbol.asyncDispose]: _, holders: _method, plan, ...rest } = PREPARATION;
		expect(JSON.parse(text)).toEqual({ ...plan, ...rest });
	});

	test("has a line per item, so that plans can be compared", () => {
		expect(
			text.split("\n").filter((line) => line.startsWith(`{"name":"vision_model.`)),
		).toHaveLength(4);
	});

	test("is the same every time", () => {
		const { [Symbol.asyncDispose]: _, holders, ...data } = PREPARATION;
		const copy = { ...structuredClone(data), holders } as Preparation;
		expect([...planJson(copy)].join("")).toBe(text);
	});
});

test("the summary says what was resumed and how to load the result", () => {
	const options = parseConvertOptions({
		repo: "org/name",
		out: "/ckpt",
		parallelism: { dpShard: 2 },
	});
	expect(renderSummary(SUMMARY, options)).toMatchInlineSnapshot(`
		"source      org/name @ 0123456789ab
		checkpoint  /ckpt
		mesh        fsdp 2 (2 ranks)
		target      torchtitan@2026-06, family llama3
		fetched     500 kB in 1 request, 2.0 s (250 kB/s)
		written     1.00 MB: 2 files, 2 entries; .metadata 1.23 kB
		quantised   2 weights: FP8 in blocks of 128 × 128 becomes bfloat16 (x.weight, …)
		dropped     4 tensors: vision tensors are not part of the text model (vision_model.a, …)
		dropped     1 tensor: computed by the model (inv_freq)
		tied        1 tensor: stored under both keys (a)
		added       1 tensor that no source has (layers.0.moe.expert_bias_E)
		resumed     1 entry was finished by an earlier run
		threads     1 (one for every 2 GiB to fetch)
		network     4 connections, 3 retries, 1 lagging answer continued elsewhere, 2 requests not direct: a proxy is configured
		device      cpu (nothing here is quicker on a GPU)
		reshard     cpu
		writes      O_DIRECT 480 kB, buffered 20.0 kB in 6 calls; 0 B copied first
		checksums   native

		Load it in torchtitan (2 ranks; keys of torchtitan@2026-06):

		  NGPU=2 MODULE=llama3 CONFIG=YOUR_CONFIG ./run_train.sh \\
		    --checkpoint.enable \\
		    --checkpoint.initial_load_path=/ckpt \\
		    --parallelism.data_parallel_shard_degree=2

		torchtitan ignores --checkpoint.initial_load_path while its own checkpoint folder (outputs/checkpoint by default)
		holds a step-* folder: remove those, or give this run another --dump_folder."
	`);
});

test.each([
	[
		{ mode: "buffered", directBytes: 0, bufferedBytes: 5e9, calls: 1, refusals: 0 } as const,
		"buffered 5.00 GB in 1 call; 1.00 kB copied first",
	],
	[
		{ mode: "direct", directBytes: 4e9, bufferedBytes: 1e9, calls: 9, refusals: 1 } as const,
		"O_DIRECT 4.00 GB, buffered 1.00 GB in 9 calls; 1.00 kB copied first; O_DIRECT refused for 1 file",
	],
])("how the bytes were written: %j", (writes, expected) => {
	const options = parseConvertOptions({ repo: "org/name", out: "/ckpt" });
	const text = renderSummary({ ...SUMMARY, writes, copiedBytes: 1000 }, options);
	expect(text).toContain(`\nwrites      ${expected}\n`);
});
