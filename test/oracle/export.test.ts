import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportCheckpoint, type ExportSummary, parseExportOptions } from "../../src/index.ts";
import { findPython } from "../support/python.ts";
import { runCli } from "../support/run-cli.ts";
import { Resources, temporaryDirectory } from "./conversion.ts";
import { Oracle } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in search ? `: ${search.skip}` : "";

/** Meshes in turn, so that every family sees another one. */
const MESHES = [
	["--dp-shard", "3"],
	["--dp-shard", "2", "--tp", "2"],
	["--dp-replicate", "2", "--dp-shard", "2"],
	["--dp-shard", "4", "--tp", "2"],
] as const;

/** Of `tiny_models.py`: families, and tensors of the model that the trainer has no use for. */
const FAMILIES = [
	["llama3", 0],
	["llama3-tied", 0],
	["llama4", 26],
	["qwen3", 0],
	["qwen3_moe", 0],
	["deepseek_v3", 0],
	["kimi_k2", 0],
	["gpt_oss", 0],
	["qwen3_5", 0],
	["qwen3_5_moe", 0],
	["qwen3_vl_moe", 0],
	["muse_glimmer", 0],
] as const;

describe.skipIf("skip" in search)(
	`a model that became a checkpoint becomes the same model again${why}`,
	() => {
		const resources = new Resources();
		let folder: string;
		let oracle: Oracle;
		const model = (name: string): string => join(folder, "models", name);

		beforeAll(async () => {
			folder = resources.use(await temporaryDirectory()).path;
			oracle = resources.use(new Oracle("python" in search ? search.python : ""));
			const directory = join(folder, "models");
			await oracle.ask({ kind: "tiny", names: FAMILIES.map(([name]) => name), directory });
			await oracle.ask({ kind: "models", names: ["flux"], directory });
		});
		afterAll(() => resources.dispose());

		async function convert(name: string, flags: readonly string[]): Promise<string> {
			const checkpoint = join(folder, `${name} ${flags.join(" ")}`);
			const args = [model(name), "--out", checkpoint, ...flags, "--threads", "1", "--quiet"];
			const { code, stderr } = await runCli(args, {});
			expect(stderr).toSatisfy(() => code === 0);
			return checkpoint;
		}

		function exported(options: object): Promise<ExportSummary> {
			return exportCheckpoint(parseExportOptions({ environment: {}, ...options }));
		}

		it.each(FAMILIES)("%s", async (name, unused) => {
			const mesh = MESHES[FAMILIES.findIndex(([one]) => one === name) % MESHES.length]!;
			const checkpoint = await convert(name, mesh);
			const out = `${checkpoint}.hf`;
			const summary = await exported({ directory: checkpoint, out, fill: unused > 0 });
			expect(summary).toMatchObject({ rounded: [], missing: [], config: "copied", warnings: [] });
			expect(summary.filled).toHaveLength(unused);
			const before = await oracle.ask({ kind: "hashes", directory: model(name) });
			const after = await oracle.ask({ kind: "hashes", directory: out });
			expect(after.tensors).toEqual(before.tensors);
			// Header and all: what transformers wrote.
			expect(after.files).toEqual(before.files);
			for (const file of await readdir(model(name))) {
				const [a, b] = await Promise.all(
					[model(name), out].map((one) => readFile(join(one, file))),
				);
				expect(a!.equals(b!), file).toBe(true);
			}
		});

		it("flux, the transformer of a pipeline", async () => {
			const checkpoint = await convert("flux", ["--dp-shard", "2"]);
			const out = `${checkpoint}.hf`;
			await exported({ directory: checkpoint, out, fill: true });
			const [before, after] = await Promise.all(
				[model("flux"), out].map((one) =>
					oracle.ask({ kind: "hashes", directory: join(one, "transformer") }),
				),
			);
			expect(Object.keys(before!.tensors).length).toBeGreaterThan(20);
			expect(after!.tensors).toEqual(before!.tensors);
			expect(await readdir(join(out, "transformer"))).toContain("config.json");
		});

		it("transformers loads it: by size into several files, in another dtype", async () => {
			const checkpoint = await convert("qwen3_moe", ["--dp-shard", "2"]);
			const out = `${checkpoint}.sizes`;
			const options = { directory: checkpoint, out, dtype: "bfloat16", maxShardBytes: "100kB" };
			const { files, rounded } = await exported(options);
			expect(files.length).toBeGreaterThan(3);
			expect(rounded).toEqual([{ from: "float32", to: "bfloat16", tensors: expect.any(Number) }]);
			await oracle.ask({ kind: "hashes", directory: out });
			const job = { kind: "pretrained", directory: out, model: model("qwen3_moe") } as const;
			const report = await oracle.ask(job);
			expect(report).toMatchObject({ trouble: {}, different: [], dtype: "bfloat16" });
			expect(report.keys).toBeGreaterThan(20);
		});

		it("transformers loads it: weights that were quantised", async () => {
			const [quantised, meant] = [model("gpt_oss.mxfp4"), model("gpt_oss.meant")];
			const quantise = { kind: "quantise", method: "mxfp4", model: model("gpt_oss") } as const;
			await oracle.ask({ ...quantise, quantised, meant });
			const checkpoint = await convert("gpt_oss.mxfp4", ["--dp-shard", "2", "--tp", "2"]);
			const out = `${checkpoint}.hf`;
			const { dequantised, config } = await exported({ directory: checkpoint, out });
			expect({ dequantised, config }).toEqual({ dequantised: 4, config: "changed" });
			const report = await oracle.ask({ kind: "pretrained", directory: out, model: meant });
			expect(report).toMatchObject({ trouble: {}, different: [] });
		});

		describe("a checkpoint that torch saved later, on another mesh", () => {
			it.each([
				{ name: "qwen3_moe", key: "layers.1.moe.routed_experts.inner_experts.w2_EDF", changes: 8 },
				{ name: "llama3", key: "layers.0.attention.qkv_linear.wq.weight", changes: 1 },
			])(
				"$name: what was trained changes ($changes of the model), and nothing else",
				async ({ name, key, changes }) => {
					const checkpoint = await convert(name, ["--dp-shard", "2", "--tp", "2"]);
					const saved = `${checkpoint}.later`;
					const job = { kind: "retrain", checkpoint, saved, mesh: [3, 1], changed: [key] } as const;
					const { keys } = await oracle.ask(job);
					expect(keys).toContain(key);
					const before = (await oracle.ask({ kind: "hashes", directory: model(name) })).tensors;
					for (const from of [{ manifest: checkpoint }, { model: model(name) }]) {
						const out = `${saved}.${Object.keys(from)[0]}`;
						const summary = await exported({ directory: saved, out, ...from });
						expect(summary.prefix).toBe("model.");
						expect(summary.leftOut.length).toBe(keys.length + 1);
						const after = (await oracle.ask({ kind: "hashes", directory: out })).tensors;
						expect(Object.keys(after)).toEqual(Object.keys(before));
						const changed = Object.keys(before).filter(
							(tensor) => after[tensor]![2] !== before[tensor]![2],
						);
						expect(changed).toHaveLength(changes);
					}
				},
			);

			it("tied weights that were trained apart are refused; constants that were trained are told of", async () => {
				const tied = await convert("llama3-tied", ["--dp-shard", "2"]);
				const job = { kind: "retrain", mesh: [2, 1] } as const;
				const apart = {
					...job,
					checkpoint: tied,
					saved: `${tied}.apart`,
					changed: ["lm_head.weight"],
				};
				await oracle.ask(apart);
				await expect(
					exported({ directory: apart.saved, out: `${tied}.no`, manifest: tied }),
				).rejects.toMatchObject({
					code: "RECIPE_INVALID",
					message: expect.stringMatching(/apart/),
				});
				await expect(readdir(`${tied}.no`)).rejects.toMatchObject({ code: "ENOENT" });

				const moe = await convert("qwen3_moe", ["--tp", "2"]);
				const bias = "layers.0.moe.expert_bias_E";
				const saved = `${moe}.bias`;
				await oracle.ask({ ...job, checkpoint: moe, saved, changed: [bias] });
				const summary = await exported({ directory: saved, out: `${moe}.hf`, manifest: moe });
				const changed = summary.constants.filter((constant) => constant.changed);
				expect(changed).toEqual([{ fqn: `model.${bias}`, changed: true }]);
				expect(summary.warnings.join()).toContain(bias);
			});
		});
	},
);
