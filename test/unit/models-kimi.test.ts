import { describe, expect, test } from "vitest";
import { sourcesOf } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { errorOf } from "../support/map-small-model.ts";
import { type Shapes, sourceOf } from "../support/model-sources.ts";
import { tinyDeepseek } from "../support/quantised-models.ts";

const TEXT = tinyDeepseek({ weights: "bfloat16", prediction: 0 });

/** A tower of two blocks of width 10, whose patches are 2 × 2. */
const TOWER: Shapes = {
	"vision_tower.patch_embed.proj.weight": [10, 3, 2, 2],
	"vision_tower.patch_embed.proj.bias": [10],
	"vision_tower.patch_embed.pos_emb.weight": [5, 7, 10],
	"vision_tower.encoder.final_layernorm.weight": [10],
	"vision_tower.encoder.final_layernorm.bias": [10],
	...Object.fromEntries(
		[0, 1].flatMap((n) =>
			Object.entries({
				"norm0.weight": [10],
				"norm0.bias": [10],
				"norm1.weight": [10],
				"norm1.bias": [10],
				"wqkv.weight": [30, 10],
				"wqkv.bias": [30],
				"wo.weight": [10, 10],
				"wo.bias": [10],
				"mlp.fc0.weight": [22, 10],
				"mlp.fc0.bias": [22],
				"mlp.fc1.weight": [10, 22],
				"mlp.fc1.bias": [10],
			}).map(([name, shape]) => [`vision_tower.encoder.blocks.${n}.${name}`, shape]),
		),
	),
};

function projector(name: string, first: string, second: string): Shapes {
	return {
		[`${name}.pre_norm.weight`]: [10],
		[`${name}.pre_norm.bias`]: [10],
		[`${name}.${first}.weight`]: [60, 60],
		[`${name}.${first}.bias`]: [60],
		[`${name}.${second}.weight`]: [36, 60],
		[`${name}.${second}.bias`]: [36],
	};
}

const K25 = {
	model_type: "kimi_k25",
	vision_config: {
		vt_hidden_size: 10,
		vt_intermediate_size: 22,
		vt_num_hidden_layers: 2,
		patch_size: 2,
		init_pos_emb_height: 5,
		init_pos_emb_width: 7,
		merge_kernel_size: [3, 2],
		// Width of the text model, by the same name as in another part of the file.
		text_hidden_size: 36,
	},
};

const VL = {
	model_type: "kimi_vl",
	vision_config: {
		hidden_size: 10,
		intermediate_size: 22,
		num_hidden_layers: 2,
		patch_size: 2,
		init_pos_emb_height: 5,
		init_pos_emb_width: 7,
		merge_kernel_size: [3, 2],
	},
};

const TRANSFORMERS = {
	model_type: "kimi_k25",
	vision_config: {
		hidden_size: 10,
		intermediate_size: 22,
		num_hidden_layers: 2,
		patch_size: 2,
		pos_emb_height: 5,
		pos_emb_width: 7,
		merge_kernel_size: [3, 2],
	},
};

/** The text model with other beginnings of its names. */
function text(layers: string): Shapes {
	return Object.fromEntries(
		TEXT.tensors.map(({ name, shape }) => [
			name.startsWith("model.layers.")
				? name.replace("model.layers.", layers)
				: `language_model.${name}`,
			shape,
		]),
	);
}

function map(config: object, shapes: Shapes): ModelMap {
	const source = sourceOf({ ...config, text_config: TEXT.config }, shapes, "bfloat16");
	return mapModel({ source, target: "torchtitan" });
}

const MM = projector("mm_projector", "proj.0", "proj.2");

describe("kimi_k2", () => {
	test.each([
		["Kimi K2.5", K25, MM, "language_model.model.layers."],
		[
			"Kimi-VL",
			VL,
			projector("multi_modal_projector", "linear_1", "linear_2"),
			"language_model.model.layers.",
		],
		["transformers", TRANSFORMERS, MM, "language_model.model.layers."],
		["layers without model.", K25, MM, "language_model.layers."],
	])("%s", (_, config, projection, layers) => {
		const mapped = map(config, { ...text(layers), ...TOWER, ...projection });
		const shapes = Object.fromEntries(mapped.recipes.map(({ fqn, expr }) => [fqn, expr.shape]));
		expect(shapes).toMatchObject({
			"layers.2.attention.wkv_a.weight": [16, 36],
			"vision_encoder.pos_embed": [5, 7, 10],
			"vision_encoder.patch_embed.weight": [10, 12],
			"vision_encoder.layers.1.mlp.linear_fc1.weight": [22, 10],
			"vision_encoder.projector.linear_1.weight": [60, 60],
			"vision_encoder.projector.linear_2.weight": [36, 60],
		});
		expect(mapped.recipes).toHaveLength(TEXT.tensors.length - 2 * 9 + 43);
		expect(mapped.dropped).toEqual([]);
	});

	test("names of transformers' modules, whose queries and keys have their halves apart", () => {
		const names: readonly (readonly [RegExp, string])[] = [
			[/^language_model\.model\./, "model.language_model."],
			[/^language_model\.lm_head/, "lm_head"],
			[/^vision_tower\.encoder\.blocks\.(\d)\.mlp\.fc1/, "model.vision_tower.layers.$1.mlp.fc2"],
			[/^vision_tower\.encoder\.blocks\.(\d)\.mlp\.fc0/, "model.vision_tower.layers.$1.mlp.fc1"],
			[/^vision_tower\.encoder\.blocks\.(\d)\.norm1/, "model.vision_tower.layers.$1.norm2"],
			[/^vision_tower\.encoder\.blocks\.(\d)\.norm0/, "model.vision_tower.layers.$1.norm1"],
			[/^vision_tower\.encoder\.blocks\.(\d)\.wo/, "model.vision_tower.layers.$1.attn.proj"],
			[/^vision_tower\.encoder\.blocks\.(\d)\.wqkv/, "model.vision_tower.layers.$1.attn.wqkv"],
			[/^vision_tower\.encoder\./, "model.vision_tower."],
			[/pos_emb\.weight$/, "pos_emb.position_embeddings"],
			[/^vision_tower\.patch_embed/, "model.vision_tower.patch_embed"],
			[/^mm_projector\.proj\.0/, "model.mm_projector.in_proj"],
			[/^mm_projector\.proj\.2/, "model.mm_projector.out_proj"],
			[/^mm_projector\./, "model.mm_projector."],
		];
		const hub = { ...text("language_model.model.layers."), ...TOWER, ...MM };
		const shapes: Shapes = Object.fromEntries<readonly number[]>(
			Object.entries(hub).flatMap(([name, shape]): (readonly [string, readonly number[]])[] => {
				const renamed = names.reduce((one, [from, to]) => one.replace(from, to), name);
				if (!renamed.includes("wqkv")) return [[renamed, shape]];
				const third = [shape[0]! / 3, ...shape.slice(1)];
				return ["q", "k", "v"].map((part) => [renamed.replace("wqkv", `${part}_proj`), third]);
			}),
		);
		const config = {
			...TRANSFORMERS,
			vision_config: { ...TRANSFORMERS.vision_config, num_attention_heads: 5 },
		};
		const mapped = map(config, shapes);
		const keysAndShapes = ({ recipes }: ModelMap): object =>
			Object.fromEntries(recipes.map(({ fqn, expr }) => [fqn, expr.shape]));
		expect(keysAndShapes(mapped)).toEqual(keysAndShapes(map(K25, hub)));
		const kinds = ["wq", "wk", "wv"].map(
			(name) =>
				mapped.recipes.find(({ fqn }) => fqn === `vision_encoder.layers.0.attn.${name}.bias`)!.expr
					.kind,
		);
		expect(kinds).toEqual(["reshape", "reshape", "source"]);
	});

	test("queries, keys and values of the tower are thirds", () => {
		const mapped = map(K25, { ...text("language_model.model.layers."), ...TOWER, ...MM });
		for (const [third, name] of ["wq", "wk", "wv"].entries()) {
			const recipe = mapped.recipes.find(
				({ fqn }) => fqn === `vision_encoder.layers.1.attn.${name}.weight`,
			)!;
			expect(recipe.expr).toMatchObject({ kind: "slice", start: 10 * third, end: 10 * third + 10 });
			expect(sourcesOf(recipe.expr).map((source) => source.name)).toEqual([
				"vision_tower.encoder.blocks.1.wqkv.weight",
			]);
		}
	});

	test("is refused where its experts are packed integers", () => {
		const quantization_config = { quant_method: "compressed-tensors", format: "pack-quantized" };
		const shapes = { ...text("language_model.model.layers."), ...TOWER, ...MM };
		const source = sourceOf(
			{ ...K25, text_config: { ...TEXT.config, quantization_config } },
			shapes,
		);
		const error = errorOf(() => mapModel({ source, target: "torchtitan" }));
		expect(error.code).toBe("DTYPE_UNSUPPORTED");
		expect(error.message).toContain('compressed-tensors, format "pack-quantized"');
	});

	test("what its tower has besides is an error", () => {
		const more = { "vision_tower.odd.weight": [3] };
		const shapes = { ...text("language_model.model.layers."), ...TOWER, ...MM, ...more };
		expect(errorOf(() => map(K25, shapes)).message).toContain("vision_tower.odd.weight");
	});
});
