import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sourcesOf } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { mapModel } from "../../src/models/map-model.ts";
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

const DEBUG = {
	vocab_size: 2048,
	hidden_size: 256,
	num_attention_heads: 16,
	intermediate_size: 768,
};

/** What the adapter of June leaves out though the loader demands it: the dense layers of an interleaved model. */
const LLAMA4_DENSE: Shapes = Object.fromEntries(
	[0, 2, 4].flatMap((layer) => {
		const prefix = `language_model.model.layers.${layer}.feed_forward`;
		return [
			[`${prefix}.gate_proj.weight`, [768, 256]],
			[`${prefix}.up_proj.weight`, [768, 256]],
			[`${prefix}.down_proj.weight`, [256, 768]],
		];
	}),
);

const CASES = [
	{
		golden: "llama3__debugmodel",
		target: "torchtitan",
		config: { model_type: "llama", num_hidden_layers: 6, ...DEBUG },
		extra: {},
	},
	{
		golden: "llama4__debugmodel",
		target: "torchtitan",
		config: {
			model_type: "llama4",
			text_config: {
				...DEBUG,
				num_hidden_layers: 6,
				intermediate_size: 512,
				intermediate_size_mlp: 768,
				num_local_experts: 8,
			},
		},
		extra: LLAMA4_DENSE,
	},
	{
		golden: "qwen3__debugmodel",
		target: "torchtitan",
		config: {
			model_type: "qwen3",
			...DEBUG,
			num_hidden_layers: 8,
			num_key_value_heads: 8,
			head_dim: 128,
			intermediate_size: 3072,
			tie_word_embeddings: true,
		},
		extra: {},
	},
	{
		golden: "qwen3__debugmodel_moe",
		target: "torchtitan",
		config: {
			model_type: "qwen3_moe",
			...DEBUG,
			num_hidden_layers: 8,
			num_key_value_heads: 8,
			head_dim: 128,
			num_experts: 64,
			moe_intermediate_size: 768,
		},
		extra: {},
	},
	{
		golden: "flux__flux-debug",
		target: "torchtitan",
		// As diffusers writes it: no model_type, and defaults as null.
		config: {
			_class_name: "FluxTransformer2DModel",
			attention_head_dim: 128,
			guidance_embeds: false,
			in_channels: 64,
			joint_attention_dim: 4096,
			num_attention_heads: 12,
			num_layers: 2,
			num_single_layers: 2,
			out_channels: null,
			patch_size: 1,
			pooled_projection_dim: 768,
		},
		extra: {},
	},
];

describe.each(CASES)("$golden", ({ golden: fixture, target, config, extra }) => {
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
		const projections: { readonly [name: string]: string } = { w1: "gate", w2: "down", w3: "up" };
		for (const key of golden.not_produced.filter((other) => !biases.includes(other))) {
			const [, layer, , weight] = key.split(".");
			const name = `language_model.model.layers.${layer}.feed_forward.${projections[weight!]}_proj.weight`;
			expect(sha256(bytesOf(key))).toBe(sha256(traceableBytes(name, shapes[name]!)));
		}
	});

	test("uses every source tensor", () => {
		const used = new Set(map.recipes.flatMap(({ expr }) => sourcesOf(expr).map((s) => s.name)));
		expect([...used].toSorted()).toEqual(Object.keys(shapes).toSorted());
		expect(map.dropped).toEqual([]);
	});
});
