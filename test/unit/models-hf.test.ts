import { describe, expect, test } from "vitest";
import type { ModelMap } from "../../src/core/recipe.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { errorOf, map } from "../support/map-small-model.ts";
import { type Shapes, smallLlama3, smallLlama4, sourceOf } from "../support/model-sources.ts";

describe("hf", () => {
	test("keeps every tensor of any architecture, also without config.json", () => {
		const { shapes } = smallLlama4("conditional");
		const source = sourceOf(undefined, shapes, "float8_e4m3fn");
		const mapped = mapModel({ source, target: "hf" });
		expect(mapped.recipes.map(({ fqn, expr }) => [fqn, expr])).toEqual(
			source.tensors.map(({ name, dtype, shape }) => [
				name,
				{ kind: "source", name, dtype, shape },
			]),
		);
		expect(mapped).toMatchObject({ family: "hf", target: "hf", tied: [], dropped: [] });
		expect(mapped.rules.kind).toBe("fsdp");
		expect(mapped.facts).toEqual({
			layers: 0,
			attentionHeads: 0,
			keyValueHeads: 0,
			experts: 0,
			tiedEmbeddings: false,
		});
	});

	test("reads what config.json says", () => {
		const { config, shapes } = smallLlama4("conditional");
		const mapped = mapModel({ source: sourceOf(config, shapes), target: "hf" });
		expect(mapped.facts).toMatchObject({
			layers: 4,
			attentionHeads: 6,
			keyValueHeads: 2,
			experts: 3,
		});
	});

	test.each([
		["model.embed_tokens.weight", "lm_head.weight"],
		["model.language_model.embed_tokens.weight", "lm_head.weight"],
		["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"],
		["transformer.wte.weight", "lm_head.weight"],
	])("stores the head that %s is tied to, and says so", (name, head) => {
		const shapes = { [name]: [6, 4], "norm.weight": [4] };
		const mapTied = (more: Shapes): ModelMap =>
			mapModel({
				source: sourceOf({ tie_word_embeddings: true }, { ...shapes, ...more }),
				target: "hf",
			});
		const tied = mapTied({});
		expect(tied.recipes.map(({ fqn }) => fqn)).toEqual([name, "norm.weight", head]);
		expect(tied.recipes[2]?.expr).toEqual(tied.recipes[0]?.expr);
		expect(tied.tied).toEqual([{ name, reason: `tie_word_embeddings: stored again as ${head}` }]);
		// What the source has is never made up.
		expect(mapTied({ [head]: [6, 4] }).tied).toEqual([]);
		const untied = sourceOf({ tie_word_embeddings: false }, shapes);
		expect(mapModel({ source: untied, target: "hf" }).recipes).toHaveLength(2);
	});

	test.each([
		[["GemmaForCausalLM"], 2],
		[["GPT2LMHeadModel"], 2],
		[["Gemma3ForConditionalGeneration"], 2],
		[["GemmaModel"], 1],
		[["GemmaForSequenceClassification"], 1],
		[[null, {}], 1],
		["GemmaForCausalLM", 1],
		[undefined, 1],
	])(
		"config.json of %j does not say whether the head is tied: %i tensors",
		(architectures, count) => {
			const name = "model.embed_tokens.weight";
			const mapped = mapModel({
				source: sourceOf({ architectures }, { [name]: [6, 4] }),
				target: "hf",
			});
			expect(mapped.recipes).toHaveLength(count);
			expect(mapped.tied).toHaveLength(count - 1);
			expect(mapped.facts.tiedEmbeddings).toBe(count === 2);
		},
	);

	test("is a family only of its own target", () => {
		expect(errorOf(() => map(smallLlama3(), { family: "hf" })).code).toBe("OPTIONS_INVALID");
		expect(errorOf(() => map(smallLlama3(), { family: "llama3", target: "hf" })).code).toBe(
			"OPTIONS_INVALID",
		);
	});
});
