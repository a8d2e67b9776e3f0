import { at } from "../core/shape.ts";
import { layoutInvalid } from "./invalid.ts";
import type { Parallelism, StageDivision } from "./parallelism.ts";
import { scheduleStyle, type ScheduleStyle } from "./schedules.ts";

/** Modules that go with the embedding to stage 0, those of vision-language models included; the model lacks most of them. */
const INPUT_MODULES: readonly string[] = [
	"vision_encoder",
	"vision_adapter",
	"vision_projection",
	"perception_emb_norm",
	"tok_embeddings",
];

/** Modules of the last stage; the head was called `output` until 2026-04-27. */
const OUTPUT_MODULES: readonly string[] = ["norm", "lm_head", "output"];

/** Which modules each pipeline stage has and which pipeline rank has each stage. */
export interface Pipeline {
	/** Top-level modules of each stage; layers as `layers.3`. Names that a model lacks may be listed. */
	readonly stages: readonly (readonly string[])[];
	/** The pipeline rank of each stage. */
	readonly stageRanks: readonly number[];
	/** Pipeline ranks that hold the parameter or buffer `fqn`, ascending. */
	ranksOf(fqn: string): readonly number[];
}

/**
 * Divides a model of `layers` layers over `parallelism.pp` ranks. With `pp` 1 the one rank has everything.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when the trainer would refuse the division; `ranksOf` throws it for a name
 * that no stage has.
 * @see torchtitan b5bcd76c `distributed/pipeline_parallel.py`.
 */
export function createPipeline(parallelism: Parallelism, layers: number): Pipeline {
	const { pp, division } = parallelism;
	if (pp === 1) return { stages: [], stageRanks: [], ranksOf: () => [0] };
	const stages =
		division.kind === "modules"
			? stagesFromModules(parallelism, division.parts)
			: stagesFromLayers(layers, countStages(parallelism, division, layers), division);
	const style = scheduleStyle(parallelism.schedule);
	const stageRanks = stages.map((_, stage) => rankOfStage(style, pp, stage));
	const holders = ranksByModule(stages, stageRanks);
	const allRanks = Array.from({ length: pp }, (_, rank) => rank);
	return {
		stages,
		stageRanks,
		ranksOf(fqn) {
			// The root module's own buffers stay on every stage: only child modules are taken away.
			const module = stageModule(fqn);
			const ranks = module === undefined ? allRanks : holders.get(module);
			if (ranks !== undefined) return ranks;
			throw layoutInvalid(
				`no pipeline stage has ${fqn}`,
				division.kind === "modules"
					? `List ${module} in one of the model parts.`
					: "Use pp 1, or give the modules of each stage yourself.",
				{ fqn, module },
			);
		},
	};
}

function ranksByModule(
	stages: readonly (readonly string[])[],
	stageRanks: readonly number[],
): ReadonlyMap<string, readonly number[]> {
	const ranks = new Map<string, readonly number[]>();
	for (const [stage, modules] of stages.entries()) {
		for (const module of modules) {
			if (ranks.has(module)) {
				throw layoutInvalid(
					`module ${module} is in more than one pipeline stage`,
					"List every module once.",
					{ module, stage },
				);
			}
			ranks.set(module, [at(stageRanks, stage)]);
		}
	}
	return ranks;
}

/** The pipeline rank that has `stage` of all stages. */
function rankOfStage(style: ScheduleStyle, pp: number, stage: number): number {
	const round = Math.floor(stage / pp);
	const position = stage % pp;
	return style === "v" && round === 1 ? pp - 1 - position : position;
}

/** The name by which a stage lists the part of the model that `fqn` is in; `undefined` for the model's own tensors. */
function stageModule(fqn: string): string | undefined {
	const [module, index, ...rest] = fqn.split(".");
	if (index === undefined) return undefined;
	return rest.length > 0 && /^\d+$/.test(index) ? `${module}.${index}` : module;
}

function countStages(
	{ pp, schedule }: Parallelism,
	division: Extract<StageDivision, { kind: "layers" }>,
	layers: number,
): number {
	const { layersPerStage, firstStageLessLayers, lastStageLessLayers } = division;
	const style = scheduleStyle(schedule);
	if (layersPerStage === undefined) return style === "single" ? pp : 2 * pp;
	const effective = layers + firstStageLessLayers + lastStageLessLayers;
	const stages = Math.ceil(effective / layersPerStage);
	assertStagesFit(schedule, style, pp, stages, "Change the number of layers per stage.");
	if (style === "loop" && stages < 2 * pp) {
		throw layoutInvalid(
			`${layersPerStage} layers per stage make ${stages} stages, one per pipeline rank, and ${schedule} wants several`,
			"Choose fewer layers per stage, or a schedule of one stage per rank.",
			{ stages, pp, schedule },
		);
	}
	return stages;
}

function stagesFromModules(
	{ pp, schedule }: Parallelism,
	parts: readonly (readonly string[])[],
): readonly (readonly string[])[] {
	assertStagesFit(
		schedule,
		scheduleStyle(schedule),
		pp,
		parts.length,
		"Change the number of model parts.",
	);
	return parts;
}

function assertStagesFit(
	schedule: string,
	style: ScheduleStyle,
	pp: number,
	stages: number,
	hint: string,
): void {
	const perRank = stages / pp;
	const wanted = style === "single" ? 1 : style === "v" ? 2 : undefined;
	if (stages > 0 && Number.isInteger(perRank) && (wanted ?? perRank) === perRank) return;
	throw layoutInvalid(
		wanted === undefined
			? `${stages} pipeline stages cannot be dealt evenly to ${pp} pipeline ranks`
			: `${schedule} wants ${wanted * pp} stages, ${wanted} per pipeline rank, but there are ${stages}`,
		hint,
		{ stages, pp, schedule },
	);
}

/** Layers in order, spread evenly, the embedding and the head counted as so many layers; the first stages get one more. */
function stagesFromLayers(
	layers: number,
	stages: number,
	{ firstStageLessLayers, lastStageLessLayers }: Extract<StageDivision, { kind: "layers" }>,
): readonly (readonly string[])[] {
	const effective = layers + firstStageLessLayers + lastStageLessLayers;
	const perStage = Math.floor(effective / stages);
	const extra = effective % stages;
	if (perStage < Math.max(1, firstStageLessLayers, lastStageLessLayers)) {
		throw layoutInvalid(
			`${layers} layers, with the embedding counted as ${firstStageLessLayers} and the head as ${lastStageLessLayers}, are too few for ${stages} pipeline stages`,
			"Use fewer pipeline ranks, a schedule with fewer stages, or lower weights of the first and last stage.",
			{ layers, stages, firstStageLessLayers, lastStageLessLayers },
		);
	}
	let next = 0;
	return Array.from({ length: stages }, (_, stage) => {
		const isFirst = stage === 0;
		const isLast = stage === stages - 1;
		const count =
			perStage +
			(stage < extra ? 1 : 0) -
			(isFirst ? firstStageLessLayers : 0) -
			(isLast ? lastStageLessLayers : 0);
		const names = Array.from({ length: count }, (__, index) => `layers.${next + index}`);
		next += count;
		return [...(isFirst ? INPUT_MODULES : []), ...names, ...(isLast ? OUTPUT_MODULES : [])];
	});
}
