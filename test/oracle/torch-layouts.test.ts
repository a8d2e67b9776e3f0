import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { parseConversionOptions, type Plan, prepareConversion } from "../../src/index.ts";
import { findPython } from "../support/python.ts";
import { checkpointFiles } from "../support/job-state.ts";
import { runCli } from "../support/run-cli.ts";
import { Resources, temporaryDirectory } from "./conversion.ts";
import { LAYOUT_CASES, layoutFlags, layoutPath } from "./layouts.ts";
import { type LoadReport, Oracle, type ShardedModel } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in search ? `: ${search.skip}` : "";

/** Every stored chunk that a rank reads is its own, and whole. */
function expectNoResharding({ demanded, stored, ranks }: LoadReport): void {
	expect(stored).toEqual(demanded);
	expect(ranks.map(({ mismatched, partialReads }) => ({ mismatched, partialReads }))).toEqual(
		ranks.map(() => ({ mismatched: [], partialReads: [] })),
	);
	expect(ranks.map(({ readBytes }) => readBytes)).toEqual(
		ranks.map(({ ownedBytes }) => ownedBytes),
	);
}

describe.skipIf("skip" in search)(`layouts that a trainer with real torch has${why}`, () => {
	const resources = new Resources();
	let folder: string;
	let oracle: Oracle;

	beforeAll(async () => {
		folder = resources.use(await temporaryDirectory()).path;
		oracle = resources.use(new Oracle("python" in search ? search.python : ""));
		const names = ["llama", "qwen3-moe", "llama4-text"];
		await oracle.ask({ kind: "models", names, directory: join(folder, "models") });
	});
	afterAll(() => resources.dispose());

	const modelPath = (model: string) => join(folder, "models", model);

	async function convert(model: string, name: string, ...flags: readonly string[]) {
		const out = join(folder, name);
		const { code, stdout, stderr } = await runCli([modelPath(model), "--out", out, ...flags], {});
		expect(`${code} ${stderr}${stdout}`).toMatch(/^0 /);
		return out;
	}

	async function planOf(model: string, options: object): Promise<Plan> {
		const parsed = parseConversionOptions({ repo: modelPath(model), ...options });
		await using made = await prepareConversion(parsed);
		return made.plan;
	}

	describe.each([
		["FSDP2", "llama", { fsdp: 4, tp: 1, dtype: "bfloat16" }],
		["FSDP2 and TP", "llama", { fsdp: 2, tp: 2, dtype: "float32" }],
		["uneven FSDP2", "llama", { fsdp: 3, tp: 1, dtype: "float32" }],
		["FSDP2 and EP", "qwen3-moe", { fsdp: 4, tp: 1, ep: 2, dtype: "float32" }],
	])("%s", (name, model, mesh) => {
		const at = (part: string) => join(folder, `${name} ${part}`);
		const job = (): ShardedModel => ({ ...mesh, model: modelPath(model) });

		it("loads what is like its own checkpoint, without resharding", async () => {
			const step = at("step-1");
			await oracle.ask({ kind: "train", ...job(), checkpoint: step, dump: at("layout") });
			const checkpoint = await convert(model, `${name} like`, "--like", step);
			const report = await oracle.ask({ kind: "resume", ...job(), checkpoint, prefix: "model." });
			expectNoResharding(report);
			// The chunks of the model lie in the same ranks' files as the trainer put them.
			const [theirs, ours] = await Promise.all([step, checkpoint].map(chunksOf));
			const isModel = (chunk: string): boolean => chunk.startsWith("model.");
			expect(ours).toEqual(theirs?.filter(isModel));
			expect(theirs?.some((chunk) => chunk.startsWith("optim."))).toBe(true);
		});

		it("loads what is made by its own description, without resharding", async () => {
			// The modules of transformers 5 hold experts fused.
			const flags = ["--layout", at("layout"), "--target", "hf@5"];
			const checkpoint = await convert(model, `${name} dumped`, ...flags);
			expectNoResharding(await oracle.ask({ kind: "resume", ...job(), checkpoint, prefix: "" }));
		});

		it("is described without any other rank as with them", async () => {
			const ranks = Array.from({ length: mesh.fsdp * mesh.tp }, (_, rank) => rank);
			await oracle.ask({ kind: "fake", ...job(), ranks, dump: at("fake") });
			expect(await filesOf(at("fake"))).toEqual(await filesOf(at("layout")));
		});
	});

	it("loads what is like a checkpoint of ShardedTensors", async () => {
		const [step, job] = [
			join(folder, "fsdp1"),
			{ model: modelPath("llama"), dtype: "float32", fsdp: 3, tp: 1 },
		];
		await oracle.ask({ kind: "saveFsdp1", ...job, checkpoint: step });
		const checkpoint = await convert("llama", "fsdp1 like", "--like", step);
		expect(await chunksOf(checkpoint)).toEqual(await chunksOf(step));
		const report = await oracle.ask({ kind: "resumeFsdp1", ...job, checkpoint });
		expectNoResharding(report);
	});

	it("64 ranks are described by one process, and planned", async () => {
		const dump = join(folder, "64");
		const ranks = Array.from({ length: 8 }, (_, rank) => rank);
		const job = { model: modelPath("llama"), dtype: "float32", fsdp: 8, tp: 8 };
		await oracle.ask({ kind: "fake", ...job, ranks, dump });
		const plan = await planOf("llama", { layout: dump, target: "hf" });
		expect(plan.worldSize).toBe(64);
		expect(plan.files).toHaveLength(64);
		const entries = (fqn: string): number =>
			plan.entries.filter((entry) => entry.fqn === `model.layers.0.${fqn}.weight`).length;
		expect(["self_attn.q_proj", "self_attn.o_proj", "input_layernorm"].map(entries)).toEqual([
			64, 64, 8,
		]);
	});

	/** Expert, tensor, data and pipeline parallelism, placed as torchtitan places them. */
	const placed = [
		["qwen3-moe", "FSDP×TP×EP"],
		["llama", "HSDP×TP"],
		["llama4-text", "PP×FSDP×TP"],
	].map(([model, setting]) =>
		LAYOUT_CASES.find((one) => one.model === model && one.setting === setting)!,
	);

	it.each(placed)("$model, $setting: rules, --like and --layout agree", async (layoutCase) => {
		const { model, layout, target, names, layers } = layoutCase;
		const [step, dump] = [join(folder, `${layout} step-1`), join(folder, `${layout} layout`)];
		const few = layers === undefined ? {} : { layers };
		const where = { layout: layoutPath(layout), ...few };
		await oracle.ask({ kind: "savePlaced", ...where, checkpoint: step, dump, dtype: "float32" });

		const rules = await convert(
			model,
			`${layout} rules`,
			"--target",
			target,
			"--dtype=float32",
			...layoutFlags(layout),
		);
		const dumped = await convert(model, `${layout} dumped`, "--target", target, "--layout", dump);
		expect(await filesOf(dumped)).toEqual(await filesOf(rules));

		const like = await convert(model, `${layout} like`, "--like", step);
		const expected = join(folder, `${layout}.safetensors`);
		const job = { model: modelPath(model), names, file: expected, dtype: "float32" } as const;
		await oracle.ask({ kind: "expected", ...job });
		const load = { kind: "load", ...where, expected, dtype: "float32" } as const;
		expectNoResharding(await oracle.ask({ ...load, checkpoint: like }));
	});
});

/** Every chunk with the rank whose file it is in, sorted. */
async function chunksOf(directory: string): Promise<string[]> {
	const { tensors } = await readCheckpointIndex(directory);
	return tensors
		.flatMap(({ fqn, dtype, entries }) =>
			entries
				// torch keeps one empty chunk for all ranks that hold nothing; nobody reads it.
				.filter(({ box }) => !box.size.includes(0))
				.map(
					({ box, file }) => `${fqn} ${dtype} ${JSON.stringify(box)} ${/^__\d+/.exec(file)?.[0]}`,
				),
		)
		.toSorted();
}

/** The bytes of all files but the summary and the manifest, by name. */
async function filesOf(directory: string): Promise<{ readonly [name: string]: string }> {
	const all = checkpointFiles(directory).map(async (name) => [
		name,
		(await readFile(join(directory, name))).toString("latin1"),
	]);
	return Object.fromEntries(await Promise.all(all)) as { [name: string]: string };
}
