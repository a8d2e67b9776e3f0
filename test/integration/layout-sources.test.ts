import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { planJson, renderPlan } from "../../src/cli/render-plan.ts";
import type { CheckpointIndex, CheckpointTensor } from "../../src/core/checkpoint.ts";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import {
	convert,
	parseConversionOptions,
	parseConvertOptions,
	type Plan,
	prepareConversion,
	type Preparation,
	type PrepareOptions,
} from "../../src/index.ts";
import { boxKey } from "../../src/core/box.ts";
import { runCli } from "../support/run-cli.ts";
import { parseLayoutFile } from "../../src/layout/layout-file.ts";
import { checkpointIndexOf } from "../../src/plan/checkpoint-index.ts";
import { tinyDeepseek, tinyFiles } from "../support/quantised-models.ts";
import { checkpointFiles } from "../support/job-state.ts";
import { failure } from "../support/failure.ts";
import { writeFiles } from "../support/open-source-model.ts";

const MESH = { dpShard: 4, tp: 2, ep: 4 };

let root = "";
let model = "";
/** What the rules of `MESH` make of the model: 8 ranks. */
let byRules = "";

beforeAll(async () => {
	root = await mkdtemp(join(tmpdir(), "hf-stream-dcp-layouts-"));
	model = join(root, "model");
	await writeFiles(model, createDemoModel().files);
	byRules = await converted("by-rules", { parallelism: MESH });
});

afterAll(() => rm(root, { recursive: true }));

async function converted(name: string, options: object): Promise<string> {
	const out = join(root, name);
	await convert(parseConvertOptions({ repo: model, out, threads: 1, ...options }));
	return out;
}

/** Plans with `options` and gives the preparation to `use` while it is open. */
async function planned<T>(
	options: object,
	use: (made: Preparation) => T,
	job: Pick<PrepareOptions, "workers" | "localOutput"> = {},
): Promise<T> {
	const parsed = parseConversionOptions({ repo: model, ...options });
	await using made = await prepareConversion({ ...parsed, ...job });
	return use(made);
}

async function expectSameCheckpoint(a: string, b: string): Promise<void> {
	const names = checkpointFiles(a);
	expect(checkpointFiles(b)).toEqual(names);
	expect(names).toContain(".metadata");
	for (const name of names) {
		const [left, right] = await Promise.all([a, b].map((folder) => readFile(join(folder, name))));
		expect(left?.equals(right ?? Buffer.of()), name).toBe(true);
	}
}

/** Writes what a trainer might have saved: the checkpoint of the rules after `change`. Only its `.metadata`: no more is read. */
async function trained(
	name: string,
	change: (index: CheckpointIndex) => CheckpointIndex,
): Promise<string> {
	const directory = join(root, name);
	await mkdir(directory);
	await writeFile(
		join(directory, ".metadata"),
		encodeMetadata(change(await readCheckpointIndex(byRules))),
	);
	return directory;
}

function renamed(tensor: CheckpointTensor, fqn: string): CheckpointTensor {
	return { ...tensor, fqn, entries: tensor.entries.map((entry) => ({ ...entry, fqn })) };
}

/** The model under `model.`, half of it through a wrapper, beside all that a trainer keeps. */
function asTrainerSaves({ tensors }: CheckpointIndex): CheckpointIndex {
	return {
		tensors: [
			...tensors.map((tensor, i) =>
				renamed(tensor, `model.${tensor.fqn.replace(".", i % 2 === 0 ? "." : "._orig_mod.")}`),
			),
			...tensors.map((tensor) => renamed(tensor, `optim.state.${tensor.fqn}.exp_avg`)),
			renamed(tensors[0]!, "teacher.tok_embeddings.weight"),
		],
		objects: ["lr_scheduler", "dataloader.dp_rank_0"].map((fqn, i) => ({
			fqn,
			file: `__${i}_0.distcp`,
			offset: 0,
			length: 10,
		})),
	};
}

describe("the layout of an existing checkpoint", () => {
	test("gives the same bytes again, by one thread or several, and the same blocks by several workers", async () => {
		await expectSameCheckpoint(byRules, await converted("like", { like: byRules }));
		const [threads, workers] = [join(root, "threads"), join(root, "workers")];
		for (const args of [
			[threads, "--threads=2"],
			[workers, "--workers=2"],
		] as const) {
			const [out, flag] = args;
			const { code, stderr } = await runCli([model, `--out=${out}`, `--like=${byRules}`, flag], {});
			expect(`${code} ${stderr}`).toMatch(/^0 /);
		}
		await expectSameCheckpoint(byRules, threads);
		const blocks = async (directory: string): Promise<string[]> =>
			(await readCheckpointIndex(directory)).tensors.flatMap(({ fqn, entries }) =>
				entries.map(({ box, file }) => `${fqn} ${boxKey(box)} ${/^__\d+/.exec(file)?.[0]}`),
			);
		expect(await blocks(workers)).toEqual(await blocks(byRules));
	});

	test("names the tensors as the trainer does, and leaves out and lists what is not the model's", async () => {
		const like = await trained("wrapped", asTrainerSaves);
		const wanted = await planned({ parallelism: MESH }, ({ plan }) => plan);
		await planned({ like }, (made) => {
			const { plan, layoutOrigin } = made;
			const unwrapped = plan.tensors.map(({ fqn }) => fqn.replace(/^model\.|_orig_mod\./g, ""));
			const plain = unwrapped.map((fqn) => fqn.replace("_orig_mod.", ""));
			expect(plain).toEqual(wanted.tensors.map(({ fqn }) => fqn));
			expect(plan.entries.map(({ box, file }) => [box, file])).toEqual(
				wanted.entries.map(({ box, file }) => [box, file]),
			);
			expect(layoutOrigin?.prefix).toBe("model.");
			expect(layoutOrigin?.leftOut).toHaveLength(wanted.tensors.length + 3);
			const text = renderPlan(made);
			expect(text).toContain(`layout     of the checkpoint ${like}, names under model.`);
			expect(text).toMatch(/left out {3}\d+ keys: state of the optimizer \(optim\.state\./);
			expect(text).toContain("1 key: not under model. (teacher.tok_embeddings.weight)");
			expect(text).toContain("2 keys: no tensor: a pickled object (lr_scheduler, …)");
			const json = JSON.parse([...planJson(made)].join("")) as { layoutOrigin: object };
			expect(json.layoutOrigin).toEqual(layoutOrigin);
		});
	});

	test("finds the release whose names it has, and names kept from the Hub", async () => {
		for (const target of ["torchtitan@2025-10", "torchtitan@2026-04-27", "hf", "hf@5"]) {
			const parallelism = { dpShard: 2 };
			const like = await converted(`by-${target}`, { target, parallelism });
			const [there, here] = [await contentOf({ target, parallelism }), await contentOf({ like })];
			expect(here).toEqual(there);
		}
	});

	test("stores what the checkpoint stores, unless --dtype says otherwise", async () => {
		const float32 = await trained("float32", ({ tensors, objects }) => ({
			tensors: tensors.map((tensor) => ({ ...tensor, dtype: "float32" as const })),
			objects,
		}));
		const dtypes = ({ plan }: Preparation): string[] => [
			...new Set(plan.tensors.map(({ dtype }) => dtype)),
		];
		expect(await planned({ like: float32 }, dtypes)).toEqual(["float32"]);
		expect(await planned({ like: float32, dtype: "keep" }, dtypes)).toContain("bfloat16");
		expect(await planned({ like: float32, dtype: "float16" }, dtypes)).toContain("float16");
	});

	test("rounds quantised weights once, to what the checkpoint stores", async () => {
		const repo = join(root, "fp8");
		await writeFiles(repo, tinyFiles(tinyDeepseek()));
		for (const dtype of ["float32", "bfloat16"] as const) {
			const { plan } = await planned({ repo, dtype }, (made) => made);
			const like = join(root, `fp8-${dtype}`);
			await mkdir(like);
			await writeFile(join(like, ".metadata"), encodeMetadata(checkpointIndexOf(plan)));
			const again = await planned({ repo, like }, (made) => made.plan);
			expect(again.entries).toEqual(plan.entries);
			// float32 is how they are made: a cast to anything else on the way would lose bits.
			if (dtype === "float32") expect(again.tensors).toEqual(plan.tensors);
			const quantised = again.tensors
				.map(({ expr }) => JSON.stringify(expr))
				.filter((expr) => expr.includes('"kind":"dequant"') && !expr.includes('"kind":"stack"'));
			expect(quantised.length).toBeGreaterThan(0);
			const casts = quantised.map((expr) => expr.split('"kind":"cast"').length - 1);
			expect(new Set(casts)).toEqual(new Set([dtype === "float32" ? 0 : 1]));
		}
	});

	test("constants that no key asks for are not made", async () => {
		const like = await trained("no-bias", ({ tensors, objects }) => ({
			tensors: tensors.filter(({ fqn }) => !fqn.includes("expert_bias")),
			objects,
		}));
		await planned({ like }, (made) => {
			expect(made.plan.synthesised).toEqual([]);
			expect(made.layoutOrigin?.unasked.length).toBeGreaterThan(0);
			expect(renderPlan(made)).toContain("a constant that no key asks for");
		});
	});

	test("everything that does not fit is said at once", async () => {
		const like = await trained("odd", ({ tensors, objects }) => ({
			tensors: tensors.flatMap((tensor) => {
				if (tensor.fqn === "norm.weight") return [];
				if (tensor.fqn.endsWith("0.attention.wo.weight")) {
					return [{ ...tensor, dtype: "int8" as const }];
				}
				if (tensor.fqn.startsWith("tok_embeddings")) {
					const shape = [tensor.shape[0]! + 64, ...tensor.shape.slice(1)];
					return [{ ...tensor, shape }];
				}
				if (tensor.fqn === "lm_head.weight") return [tensor, renamed(tensor, "value_head.weight")];
				return [tensor];
			}),
			objects,
		}));
		const error = await failure(planned({ like }, () => undefined));
		expect(error.code).toBe("NAMES_UNRESOLVED");
		expect(error.message).toContain("value_head.weight");
		expect(error.message).toContain("norm.weight");
		expect(error.message).toMatch(/tok_embeddings.* is \[4160, 256\] there, \[4096, 256\]/);
		expect(error.message).toMatch(/wo\.weight is int8 there, bfloat16 from the source/);
		expect(error.facts).toMatchObject({ unmade: ["value_head.weight"], missing: ["norm.weight"] });
	});

	test.each([
		["a hole", (tensor: CheckpointTensor) => tensor.entries.slice(1), /hold \d+ of its \d+ el/],
		[
			"an overlap",
			(tensor: CheckpointTensor) => {
				const [first, ...rest] = tensor.entries;
				const { offset, size } = first!.box;
				return [{ ...first!, box: { offset, size: [size[0]! + 1, ...size.slice(1)] } }, ...rest];
			},
			/overlap/,
		],
		[
			"a file of no rank",
			(tensor: CheckpointTensor) => tensor.entries.map((one) => ({ ...one, file: "a.bin" })),
			/"a\.bin" does not say which rank/,
		],
	] as const)("%s is refused", async (name, entriesOf, message) => {
		const like = await trained(name.replaceAll(" ", "-"), ({ tensors, objects }) => ({
			tensors: tensors.map((tensor) =>
				tensor.fqn === "lm_head.weight" ? { ...tensor, entries: entriesOf(tensor) } : tensor,
			),
			objects,
		}));
		const error = await failure(planned({ like }, () => undefined));
		expect(error.code).toBe("LAYOUT_INVALID");
		expect(error.message).toMatch(message);
	});

	test("a disk for each worker holds every block that its ranks may hold", async () => {
		const options = { like: byRules, localOutput: true };
		let shared = 0;
		for (const index of [0, 1, 2, 3]) {
			const out = await converted(`disk-${index}`, { ...options, worker: { index, count: 4 } });
			const { tensors } = await readCheckpointIndex(out);
			for (const { fqn, entries } of tensors) {
				const files = new Set(entries.map(({ file }) => file));
				for (const { file, offset, length } of entries) {
					const own = [2 * index, 2 * index + 1].some((rank) => file === `__${rank}_0.distcp`);
					// Not every rank stored a block of it: any of them may hold a copy of each.
					if (!own && files.size === 8) continue;
					if (!own) shared++;
					const bytes = (folder: string) =>
						readFile(join(folder, file)).then((all) => all.subarray(offset, offset + length));
					const [here, there] = await Promise.all([bytes(out), bytes(byRules)]);
					expect(here.equals(there), `${fqn} in ${file}`).toBe(true);
				}
			}
		}
		expect(shared).toBeGreaterThan(10);
	});
});

/** What is written where, of a plan. */
function contentOf(
	options: object,
): Promise<Pick<Plan, "tensors" | "entries" | "files" | "tiles">> {
	return planned(options, ({ plan: { tensors, entries, files, tiles } }) => ({
		tensors,
		entries,
		files,
		tiles,
	}));
}

describe("a layout file", () => {
	async function layoutFile(name: string, layout: unknown): Promise<string> {
		const path = join(root, name);
		await writeFile(path, typeof layout === "string" ? layout : JSON.stringify(layout));
		return path;
	}

	const FSDP = {
		version: 1,
		worldSize: 4,
		meshes: { fsdp: { dims: ["fsdp"], shape: [4] } },
		tensors: [{ fqn: "**", mesh: "fsdp", placements: ["Shard(0)"] }],
	};

	test("one rule is FSDP: the same bytes as by the mesh", async () => {
		const wanted = await converted("hf-by-mesh", { target: "hf", parallelism: { dpShard: 4 } });
		const layout = await layoutFile("fsdp.json", FSDP);
		await expectSameCheckpoint(wanted, await converted("hf-by-file", { target: "hf", layout }));
		await planned({ target: "hf", layout }, (made) => {
			expect(renderPlan(made)).toContain(`layout     of ${layout}`);
			expect(made.plan.layout).toBe("fsdp 4 (4 ranks)");
		});
	});

	test("the one in docs/layouts.md is one", async () => {
		const text = await readFile("docs/layouts.md", "utf8");
		const [, example = ""] = /```json[^\n]*\n(.*?)```/s.exec(text) ?? [];
		const { meshes, tensors } = parseLayoutFile(example, "the example");
		expect(meshes["dense"]?.ranks).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
		expect(tensors).toHaveLength(3);
	});

	test("of several rules the first counts, stages are meshes of some ranks, and dtypes are by name", async () => {
		const layout = await layoutFile("stages.json", {
			version: 1,
			worldSize: 8,
			meshes: {
				first: {
					dims: ["dp", "tp"],
					shape: [2, 2],
					ranks: [
						[0, 1],
						[2, 3],
					],
				},
				last: { dims: ["dp", "tp"], shape: [2, 2], ranks: [4, 5, 6, 7] },
				copies: { dims: ["tp"], shape: [2], ranks: [4, 5, 6, 7] },
			},
			tensors: [
				{
					fqn: "layers.*.attention.*.*.weight",
					mesh: "first",
					placements: ["_StridedShard(dim=0, sf=2)", "S(0)"],
					dtype: "float32",
				},
				{
					fqn: "layers.*.attention.wo.weight",
					mesh: "first",
					placements: ["Shard(dim=0)", "Shard(-1)"],
				},
				{ fqn: "layers.**", mesh: "first", placements: ["Shard(0)", "Replicate()"] },
				{ fqn: "norm.weight", mesh: "copies", placements: ["R"] },
				{ fqn: "**", mesh: "last", placements: ["R", "Shard(0)"] },
			],
		});
		const { plan } = await planned({ layout }, (made) => made);
		const blocks = (fqn: string): string[] =>
			plan.entries
				.filter((entry) => entry.fqn === fqn)
				.map(({ box, file, dtype }) => `${box.offset.join()} ${box.size.join()} ${file} ${dtype}`);
		expect(blocks("layers.0.attention.qkv_linear.wq.weight")).toEqual([
			"0,0 64,256 __0_0.distcp float32",
			"128,0 64,256 __1_0.distcp float32",
			"64,0 64,256 __2_0.distcp float32",
			"192,0 64,256 __3_0.distcp float32",
		]);
		expect(blocks("layers.0.attention.wo.weight")).toEqual([
			"0,0 128,128 __0_0.distcp bfloat16",
			"0,128 128,128 __1_0.distcp bfloat16",
			"128,0 128,128 __2_0.distcp bfloat16",
			"128,128 128,128 __3_0.distcp bfloat16",
		]);
		expect(blocks("norm.weight")).toHaveLength(1);
		expect(blocks("lm_head.weight").map((line) => line.split(" ")[0])).toEqual(["0,0", "2048,0"]);
		expect(plan.worldSize).toBe(8);
	});

	test("what several ranks wrote is put together", async () => {
		const layout = join(root, "ranks");
		await mkdir(layout);
		const names = await planned({}, ({ plan }) => plan.tensors);
		for (const rank of [0, 1, 2, 3]) {
			const stage = rank < 2 ? [0, 1] : [2, 3];
			const own = names.filter(({ fqn }) => fqn.startsWith("layers.") === rank < 2);
			const tensors = own
				.filter(({ fqn }) => stage[0] === rank && fqn !== "norm.weight")
				.map(({ fqn, shape }) => ({ fqn, shape, mesh: "stage", placements: ["Shard(0)"] }));
			const whole = { fqn: "norm.weight", mesh: "own", placements: [] };
			await writeFile(
				join(layout, `${rank}.json`),
				JSON.stringify({
					version: 1,
					worldSize: 4,
					rank,
					meshes: {
						stage: { dims: null, shape: [2], ranks: stage },
						own: { dims: [], shape: [], ranks: [rank] },
					},
					tensors: rank < 2 ? tensors : [...tensors, whole],
				}),
			);
		}
		const { plan } = await planned({ layout }, (made) => made);
		const ranksOf = (prefix: string): string[] => [
			...new Set(plan.entries.filter(({ fqn }) => fqn.startsWith(prefix)).map(({ file }) => file)),
		];
		expect(ranksOf("layers.")).toEqual(["__0_0.distcp", "__1_0.distcp"]);
		expect(ranksOf("lm_head")).toEqual(["__2_0.distcp", "__3_0.distcp"]);
		expect(ranksOf("norm")).toHaveLength(1);
		const disks = { workers: 2, localOutput: true };
		await planned(
			{ layout },
			({ local, workers }) => {
				// No stage holds what the other does.
				expect(local?.extraWriteBytes).toBe(0);
				expect(workers.map(({ files }) => files)).toEqual([2, 2]);
			},
			disks,
		);
		await rm(join(layout, "1.json"));
		const error = await failure(planned({ layout }, () => 0, disks));
		expect(error.message).toMatch(/lacks the files of 1 of 4 ranks/);
	});

	test.each([
		["{", /no JSON/],
		[{ ...FSDP, version: 2 }, /version: expected 1, the only version, got 2/],
		[{ ...FSDP, mesh: {} }, /mesh: there is no such key/],
		[
			{ ...FSDP, tensors: [{ fqn: "**", mesh: "fsdp", placements: ["Partial(sum)"] }] },
			/tensors\.0\.placements\.0: expected Shard\(0\), Replicate\(\).*got "Partial\(sum\)"/,
		],
		[
			{ ...FSDP, tensors: [{ fqn: "**", mesh: "tp", placements: [] }] },
			/tensors\.0\.mesh: there is no mesh "tp"/,
		],
		[
			{ ...FSDP, tensors: [{ fqn: "**", mesh: "fsdp", placements: [] }] },
			/tensors\.0\.placements: 0 placements on 1 dimensions/,
		],
		[{ ...FSDP, worldSize: 8 }, /meshes\.fsdp\.shape: has 4 of 8 ranks/],
		[
			{ ...FSDP, meshes: { fsdp: { shape: [4], ranks: [0, 1, 2, 9] } } },
			/meshes\.fsdp\.ranks: rank 9 is not in a job of 4 ranks/,
		],
		[
			{ ...FSDP, meshes: { fsdp: { shape: [4], ranks: [0, 1, 2, 2] } } },
			/meshes\.fsdp\.ranks: a rank occurs twice/,
		],
		[
			{ ...FSDP, meshes: { fsdp: { shape: [4], ranks: [0, 1, 2] } } },
			/meshes\.fsdp\.ranks: 3 ranks are no multiple of the 4/,
		],
	])("is refused with the path of the mistake: %j", async (layout, message) => {
		const path = await layoutFile("wrong.json", layout);
		const error = await failure(planned({ layout: path }, () => 0));
		expect(error.code).toBe("LAYOUT_INVALID");
		expect(error.message).toMatch(message);
	});

	test.each([
		["a dimension that a tensor lacks", ["Shard(3)"], /no dimension 3 for Shard\(dim=3\)/],
		["a split factor of nothing", ["_StridedShard(0, 2)"], /split factor 2 is not 1/],
	])("%s is refused with the tensor", async (_, placements, message) => {
		const tensors = [{ fqn: "**", mesh: "fsdp", placements }];
		const layout = await layoutFile("unfit.json", { ...FSDP, tensors });
		const error = await failure(planned({ layout }, () => 0));
		expect(error.code).toBe("LAYOUT_INVALID");
		expect(error.message).toMatch(message);
	});

	test("blocks that torch could not save are refused", async () => {
		const layout = await layoutFile("uneven.json", {
			version: 1,
			worldSize: 9,
			meshes: { dense: { shape: [3, 3] } },
			tensors: [{ fqn: "**", mesh: "dense", placements: ["_StridedShard(0, 3)", "Shard(0)"] }],
		});
		const error = await failure(planned({ layout }, () => 0));
		expect(error.code).toBe("LAYOUT_INVALID");
		expect(error.message).toMatch(/metadata disagrees with the bytes/);
	});

	test("names that do not fit are said at once", async () => {
		const layout = await layoutFile("names.json", {
			...FSDP,
			tensors: [
				{ fqn: "model.norm.weight", mesh: "fsdp", placements: ["Shard(0)"] },
				{
					fqn: "lm_head.weight",
					mesh: "fsdp",
					placements: ["Shard(0)"],
					shape: [1, 2],
					dtype: "int8",
				},
				{ fqn: "layers.**", mesh: "fsdp", placements: ["Shard(0)"] },
			],
		});
		const error = await failure(planned({ layout }, () => 0));
		expect(error.code).toBe("NAMES_UNRESOLVED");
		expect(error.facts).toMatchObject({
			unplaced: expect.arrayContaining(["norm.weight"]) as string[],
			unmade: ["model.norm.weight"],
			misshapen: ["lm_head.weight is [1, 2] there, [4096, 256] from the source"],
			uncastable: ["lm_head.weight is int8 there, bfloat16 from the source"],
		});
	});
});

describe("what cannot be read", () => {
	test("a directory without .metadata, an unknown one, one of steps", async () => {
		const steps = join(root, "steps");
		await mkdir(join(steps, "step-10"), { recursive: true });
		const code = "SOURCE_UNREADABLE";
		expect(await failure(planned({ like: steps }, () => 0))).toMatchObject({
			code,
			message: `${steps} is no checkpoint: it has no .metadata`,
			hint: expect.stringContaining(join(steps, "step-10")) as string,
		});
		for (const option of ["like", "layout"]) {
			const path = join(root, "nowhere");
			const error = await failure(planned({ [option]: path }, () => 0));
			expect(error).toMatchObject({ code, message: `${path} does not exist` });
		}
		expect(
			await failure(planned({ layout: model.replace("model", "steps") }, () => 0)),
		).toMatchObject({
			code,
			message: `${steps} holds no layout: no *.json`,
		});
	});

	test("the checkpoint whose layout is taken is not written over", async () => {
		const error = await failure(converted("by-rules", { like: byRules, overwrite: true }));
		expect(error.code).toBe("OPTIONS_INVALID");
		expect(error.message).toMatch(/is both the output and the checkpoint/);
	});
});

describe("the same command", () => {
	test("goes on with what was stopped; with another layout it is refused", async () => {
		const command = { repo: model, out: join(root, "stopped"), threads: 1, like: byRules };
		const stop = new AbortController();
		const options = parseConvertOptions({
			...command,
			signal: stop.signal,
			onEvent: ({ kind }: { readonly kind: string }) => kind === "written" && stop.abort(),
		});
		await expect(convert(options)).rejects.toMatchObject({ name: "AbortError" });
		const other = await trained("changed", ({ tensors, objects }) => ({
			tensors: tensors.map((tensor) => ({ ...tensor, dtype: "float32" as const })),
			objects,
		}));
		const error = await failure(convert(parseConvertOptions({ ...command, like: other })));
		expect(error.code).toBe("PLAN_CHANGED");
		expect(error.message).toMatch(/layout: like, sha256 [0-9a-f]{64}, now like, sha256/);
		expect((await convert(parseConvertOptions(command))).outcome).toBe("committed");
		await expectSameCheckpoint(byRules, command.out);
	});

	test("is one with the same layout, wherever it lies; another layout is another command", async () => {
		const [here, there] = [join(root, "here"), join(root, "there")];
		await cp(byRules, here, { recursive: true });
		await cp(byRules, there, { recursive: true });
		const command = { repo: model, out: join(root, "again"), threads: 1 };
		const run = (options: object) => convert(parseConvertOptions({ ...command, ...options }));
		expect((await run({ like: here })).outcome).toBe("committed");
		expect((await run({ like: there })).outcome).toBe("found");
		await cp(join(await trained("other", asTrainerSaves), ".metadata"), join(there, ".metadata"));
		const error = await failure(run({ like: there }));
		expect(error.code).toBe("OUTPUT_EXISTS");
	});
});
