import { describe, expect, test } from "vitest";
import { concat, permute, source, stack } from "../../src/core/expr.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { errorOf } from "../support/map-small-model.ts";
import { type Shapes, sourceOf } from "../support/model-sources.ts";

const f32 = (name: string, shape: readonly number[]) => source(name, "float32", shape);

function recipes(config: unknown, shapes: Shapes) {
	const mapped = mapModel({ source: sourceOf(config, shapes), target: "hf@5" });
	return mapped.recipes.map(({ fqn, expr }) => [fqn, expr] as const);
}

describe("hf@5: the names of the modules of transformers 5", () => {
	test("experts are stacked in the order of their numbers, gates before ups, where the first of them stood", () => {
		const shapes: { [name: string]: readonly number[] } = { "model.norm.weight": [4] };
		const layer = "model.layers.0.block_sparse_moe";
		for (let expert = 10; expert >= 0; expert--) {
			shapes[`${layer}.experts.${expert}.w1.weight`] = [6, 4];
			shapes[`${layer}.experts.${expert}.w2.weight`] = [4, 6];
			shapes[`${layer}.experts.${expert}.w3.weight`] = [6, 4];
		}
		shapes[`${layer}.gate.weight`] = [11, 4];
		const all = (name: string, shape: readonly number[]) =>
			stack(
				Array.from({ length: 11 }, (_, e) => f32(`${layer}.experts.${e}.${name}.weight`, shape)),
				0,
			);
		expect(recipes({ model_type: "mixtral" }, shapes)).toEqual([
			["model.norm.weight", f32("model.norm.weight", [4])],
			[
				"model.layers.0.mlp.experts.gate_up_proj",
				concat([all("w1", [6, 4]), all("w3", [6, 4])], 1),
			],
			["model.layers.0.mlp.experts.down_proj", all("w2", [4, 6])],
			["model.layers.0.mlp.gate.weight", f32(`${layer}.gate.weight`, [11, 4])],
		]);
	});

	test.each([
		["gemma3", "language_model.lm_head.weight", "lm_head.weight"],
		["gemma3", "language_model.model.norm.weight", "model.language_model.norm.weight"],
		["gemma3", "vision_tower.vision_model.head.weight", "model.vision_tower.head.weight"],
		["gemma3", "vision_tower.head.weight", "model.vision_tower.head.weight"],
		["gemma3", "model.language_model.norm.weight", "model.language_model.norm.weight"],
		["qwen2_5_vl", "visual.merger.mlp.0.bias", "model.visual.merger.mlp.0.bias"],
		["qwen2_5_vl", "model.norm.weight", "model.language_model.norm.weight"],
		["qwen2_5_vl", "model.visual.patch.weight", "model.visual.patch.weight"],
		["qwen2_5_vl", "lm_head.weight", "lm_head.weight"],
		["mistral", "model.norm.weight", "model.norm.weight"],
		["qwen3_moe", "model.layers.0.mlp.experts.down_proj", "model.layers.0.mlp.experts.down_proj"],
	])("%s: %s → %s", (modelType, before, after) => {
		const config = { model_type: modelType, tie_word_embeddings: false };
		expect(recipes(config, { [before]: [4] })).toEqual([[after, f32(before, [4])]]);
	});

	test("experts whose axes are exchanged are turned, others are not", () => {
		const config = {
			model_type: "qwen3_vl_moe",
			text_config: { hidden_size: 4, moe_intermediate_size: 3 },
		};
		const layer = "model.language_model.layers.0.mlp.experts";
		const exchanged = { [`${layer}.gate_up_proj`]: [2, 4, 6], [`${layer}.down_proj`]: [2, 3, 4] };
		expect(recipes(config, exchanged)).toEqual([
			[`${layer}.gate_up_proj`, permute(f32(`${layer}.gate_up_proj`, [2, 4, 6]), [0, 2, 1])],
			[`${layer}.down_proj`, permute(f32(`${layer}.down_proj`, [2, 3, 4]), [0, 2, 1])],
		]);
		const asHeld = { [`${layer}.gate_up_proj`]: [2, 6, 4], [`${layer}.down_proj`]: [2, 4, 3] };
		expect(recipes(config, asHeld)).toEqual([
			[`${layer}.gate_up_proj`, f32(`${layer}.gate_up_proj`, [2, 6, 4])],
			[`${layer}.down_proj`, f32(`${layer}.down_proj`, [2, 4, 3])],
		]);
	});

	test("a tied head is found under the module's name", () => {
		const config = { model_type: "gemma3", tie_word_embeddings: true };
		const embedding = "language_model.model.embed_tokens.weight";
		expect(recipes(config, { [embedding]: [6, 4] })).toEqual([
			["model.language_model.embed_tokens.weight", f32(embedding, [6, 4])],
			["lm_head.weight", f32(embedding, [6, 4])],
		]);
		const mapped = mapModel({ source: sourceOf(config, { [embedding]: [6, 4] }), target: "hf@5" });
		const reason = "tie_word_embeddings: stored again as lm_head.weight";
		expect(mapped.tied).toEqual([{ name: embedding, reason }]);
	});

	test("a missing expert is an error", () => {
		const name = (expert: number) => `model.layers.3.mlp.experts.${expert}.down_proj.weight`;
		const shapes = { [name(0)]: [4, 6], [name(2)]: [4, 6] };
		const error = errorOf(() => recipes({ model_type: "olmoe" }, shapes));
		expect(error).toMatchObject({
			code: "NAMES_UNRESOLVED",
			message:
				"model.layers.3.mlp.experts.down_proj needs experts 0 to 2; the source lacks 1 of them, the first is 1",
		});
	});

	test("gates without as many ups are an error", () => {
		const name = (part: string) => `model.layers.3.mlp.experts.0.${part}_proj.weight`;
		const shapes = { [name("gate")]: [6, 4] };
		const error = errorOf(() => recipes({ model_type: "olmoe" }, shapes));
		expect(error).toMatchObject({ code: "NAMES_UNRESOLVED" });
	});
});
