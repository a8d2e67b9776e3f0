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

	it.each([
		{ model: "llama3__debugmodel", compared: 21 },
		{ model: "llama4__debugmodel", compared: 22 },
		{ model: "qwen3__debugmodel", compared: 25 },
		{ model: "qwen3__debugmodel_moe", compared: 27 },
	])("$model", async ({ model, compared }) => {
		const fixture = fileURLToPath(
			new URL(`../fixtures/torchtitan-adapters/${model}.json`, import.meta.url),
		);
		const report = await oracle.ask({ kind: "adapter", fixture, layers: 2 });
		expect(report).toMatchObject({ compared, different: [] });
		// Nothing is made that torchtitan's loader does not ask for.
		expect(report.notProduced).toEqual(expect.arrayContaining([...report.extra]));
	});
});
