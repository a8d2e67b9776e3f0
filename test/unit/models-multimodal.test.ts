import { describe, expect, test } from "vitest";
import type { ModelMap } from "../../src/core/recipe.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { type ParallelismInput, resolveParallelism } from "../../src/layout/parallelism.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { type Shapes, sourceOf, traceableBytes } from "../support/model-sources.ts";
import {
	type ExpertForm,
	fluxExport,
	museExport,
	qwen35Export,
	qwen3VlExport,
} from "../support/multimodal-exports.ts";
import { errorOf } from "../support/map-small-model.ts";
import { evaluateExpr } from "../support/naive-expr.ts";

/** Every number differs where the rules could mistake one for another. */
const TEXT = {
	vocab_size: 64,
	hidden_size: 24,
	num_hidden_layers: 4,
	num_attention_heads: 6,
	num_key_value_heads: 2,
	head_dim: 8,
	intermediate_size: 40,
};
const LINEAR = {
	linear_conv_kernel_dim: 4,
	linear_num_key_heads: 2,
	linear_key_head_dim: 6,
	linear_num_value_heads: 4,
	linear_value_head_dim: 10,
};
const MOE = { num_experts: 3, moe_intermediate_size: 20, shared_expert_intermediate_size: 28 };
const VISION = {
	depth: 2,
	hidden_size: 16,
	intermediate_size: 36,
	num_heads: 4,
	in_channels: 3,
	num_position_embeddings: 9,
	out_hidden_size: 24,
	patch_size: 4,
	spatial_merge_size: 2,
	temporal_patch_size: 2,
};
const DEEP = { ...VISION, deepstack_visual_indexes: [0, 1, 1] };
const MUSE_TOP = { out_hidden_size: 64, projector_hidden_size: 30 };
const MUSE_VISION = {
	hidden_size: 16,
	intermediate_size: 36,
	num_attention_heads: 2,
	num_hidden_layers: 2,
	patch_size: 4,
	patch_temporal: 2,
	pos_emb_height: 3,
	pos_emb_width: 5,
};
const FLUX = {
	attention_head_dim: 8,
	num_attention_heads: 2,
	in_channels: 12,
	joint_attention_dim: 20,
	pooled_projection_dim: 28,
	num_layers: 2,
	num_single_layers: 3,
};

function map(config: object, shapes: Shapes, target = "torchtitan"): ModelMap {
	return mapModel({ source: sourceOf(config, shapes), target });
}

/** Elements of one target tensor. */
function valueOf(mapped: ModelMap, fqn: string, shapes: Shapes): Uint32Array {
	const recipe = mapped.recipes.find((one) => one.fqn === fqn)!;
	return words(evaluateExpr(recipe.expr, (name) => traceableBytes(name, shapes[name]!)));
}

function words(bytes: Uint8Array): Uint32Array {
	return new Uint32Array(bytes.slice().buffer);
}

function layout(mapped: ModelMap, input: ParallelismInput) {
	const parallelism = resolveParallelism(input);
	const made = createLayout({ parallelism, rules: mapped.rules, facts: mapped.facts });
	return mapped.recipes.map(({ fqn, expr }) => made.shardsOf(fqn, expr.shape).length);
}

describe("routed experts", () => {
	const sizes = [
		["hidden and inner width differ", 24, 20],
		["they are the same, so that down_proj does not tell", 24, 24],
		["inner is half of hidden, so that gate_up_proj does not tell", 24, 12],
	] as const;

	describe.each(sizes)("%s", (_, hidden, inner) => {
		const text = { ...TEXT, ...LINEAR, ...MOE, hidden_size: hidden, moe_intermediate_size: inner };
		const layer = "model.language_model.layers.1.mlp.experts";
		const key = "layers.1.moe.routed_experts.inner_experts";
		/** Where element `[e, row, column]` of a target tensor lies in its source. */
		type Place = (e: number, row: number, column: number) => readonly [name: string, at: number];
		const places: { readonly [form in ExpertForm]: { readonly [name: string]: Place } } = {
			fused: {
				w1_EFD: (e, f, d) => ["gate_up_proj", (e * 2 * inner + f) * hidden + d],
				w3_EFD: (e, f, d) => ["gate_up_proj", (e * 2 * inner + inner + f) * hidden + d],
				w2_EDF: (e, d, f) => ["down_proj", (e * hidden + d) * inner + f],
			},
			transposed: {
				w1_EFD: (e, f, d) => ["gate_up_proj", (e * hidden + d) * 2 * inner + f],
				w3_EFD: (e, f, d) => ["gate_up_proj", (e * hidden + d) * 2 * inner + inner + f],
				w2_EDF: (e, d, f) => ["down_proj", (e * inner + f) * hidden + d],
			},
			separate: {
				w1_EFD: (e, f, d) => [`${e}.gate_proj.weight`, f * hidden + d],
				w3_EFD: (e, f, d) => [`${e}.up_proj.weight`, f * hidden + d],
				w2_EDF: (e, d, f) => [`${e}.down_proj.weight`, d * inner + f],
			},
		};

		test.each(["fused", "transposed", "separate"] as const)("%s", (form) => {
			const shapes = qwen35Export(text, VISION, { form });
			const config = { model_type: "qwen3_5_moe", text_config: text, vision_config: VISION };
			const mapped = map(config, shapes);
			for (const [name, place] of Object.entries(places[form])) {
				const [rows, columns] = name === "w2_EDF" ? [hidden, inner] : [inner, hidden];
				const expected: number[] = [];
				for (let e = 0; e < MOE.num_experts; e++) {
					for (let row = 0; row < rows; row++) {
						for (let column = 0; column < columns; column++) {
							const [source, at] = place(e, row, column);
							const full = `${layer}.${source}`;
							expected.push(words(traceableBytes(full, shapes[full]!))[at]!);
						}
					}
				}
				expect([...valueOf(mapped, `${key}.${name}`, shapes)]).toEqual(expected);
			}
		});
	});

	test("of no known form are refused, with what config.json wants", () => {
		const text = { ...TEXT, ...LINEAR, ...MOE };
		const shapes = {
			...qwen35Export(text, VISION),
			"model.language_model.layers.2.mlp.experts.gate_up_proj": [3, 24, 41],
		};
		const config = { model_type: "qwen3_5_moe", text_config: text, vision_config: VISION };
		const error = errorOf(() => map(config, shapes));
		expect(error.code).toBe("NAMES_UNRESOLVED");
		expect(error.message).toContain("layers.2.moe.routed_experts.inner_experts.w1_EFD");
	});
});

describe("qwen3_5", () => {
	const text = { ...TEXT, ...LINEAR };
	const config = { model_type: "qwen3_5", text_config: text, vision_config: VISION };

	test("leaves multi-token prediction out, by its rule", () => {
		const more = { "mtp.layers.0.mlp.gate_proj.weight": [4, 4], "mtp.norm.weight": [4] };
		const mapped = map(config, { ...qwen35Export(text, VISION), ...more });
		expect(mapped.dropped).toEqual(
			Object.keys(more).map((name) => ({
				name,
				reason: "mtp.*: torchtitan's Qwen 3.5 has no multi-token prediction",
			})),
		);
	});

	test("accounts for every vision tensor", () => {
		const extra = { "model.visual.deepstack_merger_list.0.norm.weight": [64] };
		const error = errorOf(() => map(config, { ...qwen35Export(text, VISION), ...extra }));
		expect(error.facts).toMatchObject({ unmapped: Object.keys(extra) });
	});

	test("without its vision encoder is not what torchtitan loads", () => {
		const shapes = Object.fromEntries(
			Object.entries(qwen35Export(text, VISION))
				.filter(([name]) => !name.startsWith("model.visual"))
				.map(([name, shape]) => [name.replace("language_model.", ""), shape]),
		);
		const error = errorOf(() =>
			map({ model_type: "qwen3_5_text", ...text, vision_config: VISION }, shapes),
		);
		expect(error.code).toBe("NAMES_UNRESOLVED");
		expect(error.message).toContain("vision_encoder.patch_embed.weight needs model.visual");
		expect(error.message).not.toContain("source tensors that fit no rule");
	});

	test("that is tied is stored twice, and may lie on several pipeline stages", () => {
		const shapes = qwen35Export(text, VISION, { isTied: true });
		const mapped = map({ ...config, tie_word_embeddings: true }, shapes);
		expect(mapped.tied.map(({ name }) => name)).toEqual([
			"model.language_model.embed_tokens.weight",
		]);
		expect(mapped.facts.tiedEmbeddings).toBe(false);
		expect(layout(mapped, { pp: 2, dpShard: 2 })).not.toContain(0);
		expect(errorOf(() => map(config, shapes)).message).toContain("config.json does not tie it");
	});

	test("is cut by no tp that does not divide its heads of every kind", () => {
		const wide = { ...text, num_attention_heads: 8, num_key_value_heads: 8 };
		const mapped = map({ ...config, text_config: wide }, qwen35Export(wide, VISION));
		expect(errorOf(() => layout(mapped, { tp: 4 })).message).toContain(
			"tp 4 does not divide the 2 key heads of the linear attention",
		);
		expect(layout(mapped, { tp: 2, dpShard: 2 })).not.toContain(0);
	});
});

describe("qwen3_vl", () => {
	const config = { model_type: "qwen3_vl", text_config: TEXT, vision_config: DEEP };

	test("is torchtitan's of June", () => {
		const mapped = map(config, qwen3VlExport(TEXT, VISION, 3));
		expect(mapped.target).toBe("torchtitan@2026-06-08");
		const older = map(config, qwen3VlExport(TEXT, VISION, 3), "torchtitan@2026-04-12");
		expect(older.recipes.map(({ fqn }) => fqn)).toContain("layers.3.attention.wq.weight");
		expect(older.recipes.map(({ fqn }) => fqn)).toContain(
			"vision_encoder.layers.1.attn.qkv.weight",
		);
		expect(layout(mapped, { tp: 2, dpShard: 2 })).not.toContain(0);
	});

	test("may have no mergers of deep layers", () => {
		const none = { ...config, vision_config: { ...VISION, deepstack_visual_indexes: [] } };
		const mapped = map(none, qwen3VlExport(TEXT, VISION, 0));
		expect(mapped.recipes.some(({ fqn }) => fqn.includes("deepstack"))).toBe(false);
	});

	test.each([
		["by the whole model", { tie_word_embeddings: true }, {}, true],
		["by its text model", {}, { tie_word_embeddings: true }, true],
		[
			"not, whatever its text model says",
			{ tie_word_embeddings: false },
			{ tie_word_embeddings: true },
			false,
		],
	])("is tied %s", (_, whole, part, expected) => {
		const shapes = qwen3VlExport(TEXT, VISION, 3);
		const mapped = map({ ...config, ...whole, text_config: { ...TEXT, ...part } }, shapes);
		expect(mapped.facts.tiedEmbeddings).toBe(expected);
	});
});

describe("muse_glimmer", () => {
	const config = {
		model_type: "muse_glimmer",
		...MUSE_TOP,
		text_config: TEXT,
		vision_config: MUSE_VISION,
	};

	test("has vision tensors where the export has them", () => {
		const whole = map(config, museExport(MUSE_TOP, TEXT, MUSE_VISION));
		const text = map(config, museExport(MUSE_TOP, TEXT, undefined));
		const isVision = (fqn: string): boolean => fqn.startsWith("vision_");
		const keys = whole.recipes.map(({ fqn }) => fqn);
		expect(keys.filter(isVision)).toHaveLength(41);
		expect(text.recipes.map(({ fqn }) => fqn)).toEqual(keys.filter((fqn) => !isVision(fqn)));
		expect(layout(whole, { pp: 2, dpShard: 2, tp: 2 })).not.toContain(0);
	});

	test("is not taken with half of them", () => {
		const { "model.vision_projection.weight": _gone, ...shapes } = museExport(
			MUSE_TOP,
			TEXT,
			MUSE_VISION,
		);
		const error = errorOf(() => map(config, shapes));
		expect(error.message).toContain(
			"vision_projection.weight needs model.vision_projection.weight",
		);
	});

	test("reorders the biases of vision queries as their rows", () => {
		const shapes = museExport(MUSE_TOP, TEXT, MUSE_VISION);
		const mapped = map(config, shapes);
		const name = "model.vision_tower.layers.1.attn.q_proj";
		const rows = [0, 1].flatMap((head) => [0, 4, 1, 5, 2, 6, 3, 7].map((row) => 8 * head + row));
		const bias = words(traceableBytes(`${name}.bias`, [16]));
		const weight = words(traceableBytes(`${name}.weight`, [16, 16]));
		const to = "vision_encoder.layers.1.attn.wq";
		expect([...valueOf(mapped, `${to}.bias`, shapes)]).toEqual(rows.map((row) => bias[row]));
		expect([...valueOf(mapped, `${to}.weight`, shapes)]).toEqual(
			rows.flatMap((row) => Array.from(weight.subarray(16 * row, 16 * row + 16))),
		);
	});
});

describe("flux", () => {
	const config = { _class_name: "FluxTransformer2DModel", guidance_embeds: true, ...FLUX };
	const mapped = map(config, fluxExport(FLUX, true));

	test("leaves the embedding of distilled guidance out, by its rule", () => {
		expect(mapped.family).toBe("flux");
		expect(mapped.dropped).toHaveLength(4);
		expect(mapped.dropped[0]?.reason).toContain("time_text_embed.guidance_embedder.*");
		expect(map(config, fluxExport(FLUX, false)).recipes).toEqual(mapped.recipes);
	});

	test("is cut by FSDP, HSDP and CP only", () => {
		expect(layout(mapped, { dpShard: 2, dpReplicate: 2, cp: 2 })).not.toContain(0);
		expect(errorOf(() => layout(mapped, { tp: 2 })).message).toContain("no tensor parallelism");
		expect(errorOf(() => layout(mapped, { pp: 2 })).message).toContain("pipeline");
		expect(errorOf(() => layout(mapped, { ep: 2, dpShard: 2 })).message).toContain("no experts");
	});
});
