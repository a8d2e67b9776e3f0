import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPython } from "../support/python.ts";
import { Resources } from "./conversion.ts";
import { Oracle } from "./oracle.ts";

const search = findPython(["torch", "safetensors", "numpy"]);
const why = "skip" in search ? `: ${search.skip}` : "";

describe.skipIf("skip" in search)(`the oracle's mapping is torchtitan's own${why}`, () => {
	const resources = new Resources();
	let oracle: Oracle;

	beforeAll(() => {
		oracle = resources.use(new Oracle("python" in search ? search.python : ""));
	});
	afterAll(() => resources.dispose());

	for (const [model, compared, layers] of [
		["llama3__debugmodel", 21, 2],
		["llama4__debugmodel", 22, 2],
		["qwen3__debugmodel", 25, 2],
		["qwen3__debugmodel_moe", 27, 2],
		["deepseek_v3__debugmodel", 28, 2],
		["kimi_k2_7__debugmodel", 71, 2],
		["gpt_oss__debugmodel", 29, 2],
		// The fourth layer is the first with softmax attention.
		["qwen3_5__debugmodel_moe", 129, 4],
		["qwen3_vl__debugmodel_moe", 90, 4],
		["muse_glimmer__debugmodel_mm", 68, 2],
		["flux__flux-debug", 48, 1],
	] as const) {
		it(`${model}: ${compared} tensors`, async () => {
			const fixture = fileURLToPath(
				new URL(`../fixtures/torchtitan-adapters/${model}.json`, import.meta.url),
			);
			const report = await oracle.ask({ kind: "adapter", fixture, layers });
			expect(report).toMatchObject({ compared, different: [] });
			// Nothing is made that torchtitan's loader does not ask for.
			expect(report.notProduced).toEqual(expect.arrayContaining([...report.extra]));
		});
	}
});
