import { describe, expect, test } from "vitest";
import { resolveParallelism, type ParallelismInput } from "../../src/layout/parallelism.ts";
import { createPipeline } from "../../src/layout/pipeline.ts";

/** Layers of each stage. */
function layerCounts(input: ParallelismInput, layers: number): readonly number[] {
	const { stages } = createPipeline(resolveParallelism(input), layers);
	return stages.map((modules) => modules.filter((module) => module.startsWith("layers.")).length);
}

/** Pipeline rank of each stage, of three ranks. */
function deal(pipelineSchedule: string): readonly number[] {
	return createPipeline(resolveParallelism({ pp: 3, pipelineSchedule }), 12).stageRanks;
}

test("the embedding and the head count as layers; earlier stages get the remainder", () => {
	expect(layerCounts({ pp: 4 }, 48)).toEqual([12, 13, 12, 11]);
	expect(layerCounts({ pp: 4, firstStageLessLayers: 0, lastStageLessLayers: 0 }, 6)).toEqual([
		2, 2, 1, 1,
	]);
	expect(layerCounts({ pp: 2, firstStageLessLayers: 3, lastStageLessLayers: 2 }, 9)).toEqual([
		4, 5,
	]);
});

test("a stage may have the embedding alone", () => {
	expect(layerCounts({ pp: 4 }, 3)).toEqual([1, 1, 1, 0]);
});

test("layers per stage decide the number of stages", () => {
	const input = { pp: 2, pipelineSchedule: "Interleaved1F1B", layersPerStage: 2 };
	// (10 + 2) / 2 = 6 stages of 2, the first and the last with one layer less.
	expect(layerCounts(input, 10)).toEqual([1, 2, 2, 2, 2, 1]);
});

test("loop schedules deal stages round and round, V schedules there and back", () => {
	expect(deal("1F1B")).toEqual([0, 1, 2]);
	expect(deal("LoopedBFS")).toEqual([0, 1, 2, 0, 1, 2]);
	expect(deal("DualPipeV")).toEqual([0, 1, 2, 2, 1, 0]);
});

test("keys go to the rank of their stage, by whole module names", () => {
	const pipeline = createPipeline(resolveParallelism({ pp: 2 }), 12);
	expect(pipeline.ranksOf("tok_embeddings.embedding.weight")).toEqual([0]);
	expect(pipeline.ranksOf("vision_encoder.layers.11.attn.wq.weight")).toEqual([0]);
	expect(pipeline.ranksOf("layers.1.ffn_norm.weight")).toEqual([0]);
	expect(pipeline.ranksOf("layers.10.ffn_norm.weight")).toEqual([1]);
	expect(pipeline.ranksOf("norm.weight")).toEqual([1]);
	expect(pipeline.ranksOf("lm_head.weight")).toEqual([1]);
	// The head's name until 2026-04-27.
	expect(pipeline.ranksOf("output.weight")).toEqual([1]);
	// A buffer of the model itself stays on every stage.
	expect(pipeline.ranksOf("freqs_cis")).toEqual([0, 1]);
	expect(() => pipeline.ranksOf("layers.12.ffn_norm.weight")).toThrow(
		expect.objectContaining({ code: "LAYOUT_INVALID" }),
	);
	expect(() => pipeline.ranksOf("mtp_layers.0.eh_proj.weight")).toThrow(
		/no pipeline stage has mtp_layers\.0/,
	);
});

test("given modules replace the division", () => {
	const pipeline = createPipeline(
		resolveParallelism({
			pp: 2,
			moduleFqnsPerModelPart: [["tok_embeddings"], ["layers.0", "layers.1", "norm", "lm_head"]],
		}),
		2,
	);
	expect(pipeline.ranksOf("layers.0.ffn_norm.weight")).toEqual([1]);
	expect(() => pipeline.ranksOf("vision_encoder.pos_embed")).toThrow(/no pipeline stage has/);
});

test("without pipeline parallelism the one rank has everything", () => {
	const pipeline = createPipeline(resolveParallelism({ dpShard: 4, layersPerStage: 7 }), 2);
	expect(pipeline.ranksOf("anything.at.all")).toEqual([0]);
});

describe("refuses", () => {
	test.each<[string, ParallelismInput, number, RegExp]>([
		["more stages than layers", { pp: 8 }, 4, /too few for 8 pipeline stages/],
		["heavy first stage", { pp: 2, firstStageLessLayers: 5 }, 3, /too few for 2/],
		[
			"several stages for 1F1B",
			{ pp: 2, layersPerStage: 2 },
			6,
			/1F1B wants 2 stages.*there are 4/,
		],
		[
			"one stage for an interleaved schedule",
			{ pp: 2, layersPerStage: 5, pipelineSchedule: "Interleaved1F1B" },
			8,
			/Interleaved1F1B wants several/,
		],
		[
			"stages that pp does not divide",
			{ pp: 2, layersPerStage: 2, pipelineSchedule: "Interleaved1F1B" },
			8,
			/5 pipeline stages cannot be dealt evenly to 2/,
		],
		[
			"a V of four stages per rank",
			{ pp: 2, layersPerStage: 1, pipelineSchedule: "ZBVZeroBubble" },
			6,
			/ZBVZeroBubble wants 4 stages, 2 per pipeline rank, but there are 8/,
		],
		["too few parts", { pp: 2, moduleFqnsPerModelPart: [["layers.0"]] }, 1, /there are 1/],
		["no parts", { pp: 2, moduleFqnsPerModelPart: [] }, 1, /there are 0/],
		[
			"a module in two parts",
			{ pp: 2, moduleFqnsPerModelPart: [["layers.0"], ["layers.0", "norm"]] },
			1,
			/layers\.0 is in more than one/,
		],
	])("%s", (_, input, layers, message) => {
		const parallelism = resolveParallelism(input);
		const make = (): unknown => createPipeline(parallelism, layers);
		expect(make).toThrow(expect.objectContaining({ code: "LAYOUT_INVALID" }));
		expect(make).toThrow(message);
	});
});
