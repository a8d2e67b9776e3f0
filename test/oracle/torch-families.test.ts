import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { findPython } from "../support/python.ts";
import { runCli } from "../support/run-cli.ts";
import { type ModelHub, openModelHub, Resources, temporaryDirectory } from "./conversion.ts";
import { layoutFlags, layoutPath } from "./layouts.ts";
import { Oracle } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in search ? `: ${search.skip}` : "";

/** A model of `make_models.py`, a mesh that torchtitan was run with, and how many layers of the layout the model has. */
const CASES = [
	["qwen3_5-moe", "main__qwen3_5__debugmodel_moe__fsdp4_tp2_ep4", undefined],
	["qwen3_5-moe", "main__qwen3_5__debugmodel_moe__pp2_fsdp2_ep2", undefined],
	["muse_glimmer", "main__muse_glimmer__debugmodel_mm__spmd_fsdp2_tp2", undefined],
	["muse_glimmer", "main__muse_glimmer__debugmodel_mm__spmd_pp2_fsdp2", undefined],
	["flux", "main__flux__flux-debug__fsdp4", 1],
	["deepseek_v3-fp8", "main__deepseek_v3__debugmodel__fsdp4_tp2_ep4", undefined],
	["deepseek_v3-fp8", "main__deepseek_v3__debugmodel__pp2_fsdp2_ep2", undefined],
	["kimi_k2", "main__kimi_k2_7__debugmodel__fsdp2_tp2_ep2", undefined],
	["kimi_k2", "main__kimi_k2_7__debugmodel__pp2_fsdp2_ep2", undefined],
	["gpt_oss-mxfp4", "main__gpt_oss__debugmodel__fsdp4_tp2_ep4", 2],
] as const;

/** Models that no layout of torchtitan is at hand for: their values are judged. */
const WHOLE = ["qwen3_vl", "qwen3_vl-moe"] as const;

describe.skipIf("skip" in search)(
	`torch loads models with vision, of latent attention, and quantised ones${why}`,
	() => {
		const resources = new Resources();
		let folder: string;
		let oracle: Oracle;
		let hub: ModelHub;
		const expected = new Map<string, Promise<string>>();

		beforeAll(async () => {
			folder = resources.use(await temporaryDirectory()).path;
			oracle = resources.use(new Oracle("python" in search ? search.python : ""));
			const names = [...new Set([...CASES.map(([model]) => model), ...WHOLE])];
			await oracle.ask({ kind: "models", names, directory: join(folder, "models") });
			hub = resources.use(await openModelHub(join(folder, "models")));
		});
		afterAll(() => resources.dispose());

		/** The state dict torchtitan must find, computed once per model. */
		function expectedFile(model: string, names: "june" | "main"): Promise<string> {
			const file = join(folder, `${model}.safetensors`);
			const part = model === "flux" ? "transformer" : ".";
			const job = {
				kind: "expected",
				model: join(folder, "models", model, part),
				names,
				file,
			} as const;
			const made = expected.get(model) ?? oracle.ask(job).then(() => file);
			expected.set(model, made);
			return made;
		}

		/** Converts as a user would. */
		async function convert(model: string, ...flags: readonly string[]): Promise<string> {
			const checkpoint = join(folder, "checkpoint");
			onTestFinished(() => rm(checkpoint, { recursive: true, force: true }));
			const result = await runCli([`tests/${model}`, "--out", checkpoint, ...flags], {
				HF_ENDPOINT: hub.endpoint,
				HF_HOME: join(folder, "home"),
			});
			expect(result.stderr + result.stdout, "the command line fails").toSatisfy(
				() => result.code === 0,
			);
			return checkpoint;
		}

		it.each(CASES)("%s: %s", async (model, layout, layers) => {
			const report = await oracle.ask({
				kind: "load",
				layout: layoutPath(layout),
				checkpoint: await convert(model, ...layoutFlags(layout)),
				expected: await expectedFile(model, "main"),
				...(layers === undefined ? {} : { layers }),
			});
			expect(report.stored).toEqual(report.demanded);
			expect(report.ranks.length).toBeGreaterThan(2);
			for (const rank of report.ranks) {
				expect(rank).toMatchObject({ mismatched: [], partialReads: [], bulkReads: rank.items });
				expect(rank.readBytes).toBe(rank.ownedBytes);
			}
		});

		it.each(WHOLE)("%s: every tensor is right", async (model) => {
			const checkpoint = await convert(model, "--dp-shard=2", "--tp=2");
			const report = await oracle.ask({
				kind: "whole",
				checkpoint,
				expected: await expectedFile(model, "june"),
			});
			expect(report).toMatchObject({ missing: [], extra: [], mismatched: [] });
			expect(report.keys).toBeGreaterThan(60);
		});
	},
);
