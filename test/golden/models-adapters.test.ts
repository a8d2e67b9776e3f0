import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sourcesOf } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { ADAPTER_CASES, gptOssExpert, llama4Dense } from "../support/adapter-cases.ts";
import { type Shapes, sourceOf, traceableBytes } from "../support/model-sources.ts";
import { evaluateExpr } from "../support/naive-expr.ts";

interface Golden {
	readonly source: Shapes;
	readonly expected: {
		readonly [key: string]: { readonly shape: readonly number[]; readonly sha256: string };
	};
	readonly state_dict: Shapes;
	readonly not_produced: readonly string[];
}

function readGolden(name: string): Golden {
	const path = join(import.meta.dirname, `../fixtures/torchtitan-adapters/${name}.json`);
	return JSON.parse(readFileSync(path, "utf8")) as Golden;
}

function sha256(bytes: Uint8Array): string {
	return createHash("sha256").update(bytes).digest("hex");
}

describe.each(ADAPTER_CASES)("$golden", ({ golden: fixture, target, config, extra }) => {
	const golden = readGolden(fixture);
	const shapes: Shapes = { ...golden.source, ...extra };
	const map: ModelMap = mapModel({ source: sourceOf(config, shapes), target });
	const bytesOf = (key: string): Uint8Array => {
		const recipe = map.recipes.find(({ fqn }) => fqn === key);
		if (recipe === undefined) throw new Error(`no recipe for ${key}`);
		return evaluateExpr(recipe.expr, (source) => traceableBytes(source, shapes[source]!));
	};

	test("has the keys and shapes of the trainer's state dict, in its order", () => {
		const made = map.recipes.map(({ fqn, expr }) => [fqn, expr.shape]);
		expect(made).toEqual(Object.entries(golden.state_dict));
	});

	test("moves every element where torchtitan's adapter moves it", () => {
		const keys = Object.keys(golden.expected);
		expect(keys.length).toBeGreaterThan(50);
		const wrong = keys.filter((key) => sha256(bytesOf(key)) !== golden.expected[key]!.sha256);
		expect(wrong).toEqual([]);
	});

	test("makes what the adapter leaves out", () => {
		const biases = golden.not_produced.filter((key) => key.endsWith(".expert_bias_E"));
		expect(map.synthesised).toEqual(biases);
		for (const key of biases) {
			const recipe = map.recipes.find(({ fqn }) => fqn === key)!;
			expect(recipe.keepDtype).toBe(true);
			expect(recipe.expr.dtype).toBe("float32");
			expect(bytesOf(key)).toEqual(new Uint8Array(4 * golden.state_dict[key]![0]!));
		}
		const others = golden.not_produced.filter((key) => !biases.includes(key));
		const leftOut = fixture === "gpt_oss__debugmodel" ? gptOssExpert : llama4Dense;
		for (const key of others) expect(sha256(bytesOf(key))).toBe(sha256(leftOut(key)));
	});

	test("uses every source tensor", () => {
		const used = new Set(map.recipes.flatMap(({ expr }) => sourcesOf(expr).map((s) => s.name)));
		expect([...used].toSorted()).toEqual(Object.keys(shapes).toSorted());
		expect(map.dropped).toEqual([]);
	});
});
