import { HfStreamDcpError, type ErrorFacts } from "../core/errors.ts";
import { layoutInvalid } from "./invalid.ts";
import { parseSchedule, type PipelineSchedule } from "./schedules.ts";

/** What a user says about the training job. Everything left out has torchtitan's default. */
export interface ParallelismInput {
	/** Replicas of the sharded model (HSDP, DDP). @default 1 */
	readonly dpReplicate?: number | undefined;
	/**
	 * Ranks that FSDP shards over, before context parallelism; `-1` takes what the others leave of `worldSize`.
	 * @default -1 when `worldSize` is given, otherwise 1
	 */
	readonly dpShard?: number | undefined;
	/** @default 1 */
	readonly tp?: number | undefined;
	/** Context parallelism; for parameters, more FSDP. @default 1 */
	readonly cp?: number | undefined;
	/** @default 1 */
	readonly pp?: number | undefined;
	/** Expert parallelism, out of dp_shard × cp × tp. @default 1 */
	readonly ep?: number | undefined;
	/** Expert tensor parallelism of releases before 2026-04-30: 1 or `tp`. @default 1 */
	readonly etp?: number | undefined;
	/** Ranks of the training job. @default the product of the degrees */
	readonly worldSize?: number | undefined;
	/** @default "1F1B" */
	readonly pipelineSchedule?: string | undefined;
	/** Layers of one stage. @default as many as make one stage per pipeline rank, or two for schedules of several stages */
	readonly layersPerStage?: number | undefined;
	/** Layers that the embedding counts for. @default 1 */
	readonly firstStageLessLayers?: number | undefined;
	/** Layers that the last norm and the head count for. @default 1 */
	readonly lastStageLessLayers?: number | undefined;
	/** Module names of every stage, instead of the automatic division. */
	readonly moduleFqnsPerModelPart?: readonly (readonly string[])[] | undefined;
}

/** How layers become pipeline stages. */
export type StageDivision =
	| {
			readonly kind: "layers";
			/** `undefined`: the schedule's default number of stages. */
			readonly layersPerStage: number | undefined;
			readonly firstStageLessLayers: number;
			readonly lastStageLessLayers: number;
	  }
	| { readonly kind: "modules"; readonly parts: readonly (readonly string[])[] };

/** The mesh of a training job, complete: the degrees are positive integers and their product is `worldSize`. */
export interface Parallelism {
	readonly dpReplicate: number;
	readonly dpShard: number;
	readonly tp: number;
	readonly cp: number;
	readonly pp: number;
	readonly ep: number;
	readonly etp: number;
	readonly worldSize: number;
	readonly schedule: PipelineSchedule;
	readonly division: StageDivision;
}

/**
 * The largest number of ranks that is taken for meant: every replicated block lists its ranks, and no training job is near.
 * Exceeding it is fatal.
 */
export const MAX_RANKS = 1_048_576;

/**
 * Completes and checks what can be checked without the model.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for a value that is no degree, `LAYOUT_INVALID` for degrees that do not fit
 * together.
 * @see torchtitan b5bcd76c `distributed/parallel_dims.py`, `_validate`.
 */
export function resolveParallelism(input: ParallelismInput): Parallelism {
	const degrees = {
		dpReplicate: positive("dp_replicate", input.dpReplicate),
		cp: positive("cp", input.cp),
		tp: positive("tp", input.tp),
		pp: positive("pp", input.pp),
		ep: positive("ep", input.ep),
		etp: positive("etp", input.etp),
	};
	const others = degrees.dpReplicate * degrees.cp * degrees.tp * degrees.pp;
	const dpShard = resolveDpShard(input, others);
	const parallelism: Parallelism = {
		...degrees,
		dpShard,
		worldSize: others * dpShard,
		schedule: parseSchedule(input.pipelineSchedule ?? "1F1B"),
		division: resolveDivision(input),
	};
	assertDegreesFit(parallelism, input.worldSize);
	return parallelism;
}

function resolveDpShard(input: ParallelismInput, others: number): number {
	const worldSize =
		input.worldSize === undefined ? undefined : positive("world size", input.worldSize);
	const dpShard = input.dpShard ?? (worldSize === undefined ? 1 : -1);
	if (dpShard !== -1) return positive("dp_shard", dpShard, " or -1");
	if (worldSize === undefined) {
		throw optionsInvalid(
			"dp_shard -1 means what the other degrees leave of the world size, and no world size is given",
			"Give the world size, or the number of ranks that FSDP shards over.",
			{ dpShard },
		);
	}
	if (worldSize % others !== 0) {
		throw layoutInvalid(
			`a world of ${worldSize} ranks cannot be divided by dp_replicate × cp × tp × pp = ${others}`,
			"Choose degrees whose product divides the world size.",
			{ worldSize, product: others },
		);
	}
	return worldSize / others;
}

function resolveDivision(input: ParallelismInput): StageDivision {
	const { moduleFqnsPerModelPart: parts, layersPerStage } = input;
	if (parts !== undefined) {
		return { kind: "modules", parts };
	}
	return {
		kind: "layers",
		layersPerStage:
			layersPerStage === undefined ? undefined : positive("layers per stage", layersPerStage),
		firstStageLessLayers: weight("first stage less layers", input.firstStageLessLayers),
		lastStageLessLayers: weight("last stage less layers", input.lastStageLessLayers),
	};
}

function assertDegreesFit(parallelism: Parallelism, given: number | undefined): void {
	const { dpReplicate, dpShard, cp, tp, pp, ep, etp, worldSize } = parallelism;
	if (given !== undefined && given !== worldSize) {
		throw layoutInvalid(
			`dp_replicate ${dpReplicate} × dp_shard ${dpShard} × cp ${cp} × tp ${tp} × pp ${pp} = ${worldSize} ranks, but the world size is ${given}`,
			"Change one degree, or leave dp_shard out to let it take the rest.",
			{ product: worldSize, worldSize: given },
		);
	}
	if (worldSize > MAX_RANKS) {
		throw layoutInvalid(
			`the degrees multiply to ${worldSize} ranks; at most ${MAX_RANKS} are supported`,
			"Check the degrees for a typing error.",
			{ worldSize, limit: MAX_RANKS },
		);
	}
	if (etp !== 1 && etp !== tp) {
		throw layoutInvalid(
			`etp ${etp} is neither 1 nor tp (${tp}); torchtitan knows no other`,
			"Set etp to 1 or to the tp degree.",
			{ etp, tp },
		);
	}
	// Without EP there is no expert mesh, and etp says nothing.
	const expertRanks = ep === 1 ? 1 : ep * etp;
	if ((dpShard * cp * tp) % expertRanks !== 0) {
		throw layoutInvalid(
			`ep ${ep}${etp > 1 ? ` × etp ${etp}` : ""} does not divide dp_shard × cp × tp = ${dpShard * cp * tp}, the ranks that experts are spread over`,
			"Choose an ep that divides it.",
			{ ep, etp, ranks: dpShard * cp * tp },
		);
	}
}

function positive(name: string, value: number | undefined, alternative = ""): number {
	const given = value ?? 1;
	if (Number.isSafeInteger(given) && given >= 1) return given;
	throw optionsInvalid(`${name} is ${given}`, `Give a whole number of at least 1${alternative}.`, {
		[name]: given,
	});
}

function weight(name: string, value: number | undefined): number {
	const given = value ?? 1;
	if (Number.isSafeInteger(given) && given >= 0) return given;
	throw optionsInvalid(`${name} is ${given}`, "Give a whole number of at least 0.", {
		[name]: given,
	});
}

function optionsInvalid(message: string, hint: string, facts: ErrorFacts): HfStreamDcpError {
	return new HfStreamDcpError("OPTIONS_INVALID", message, { hint, facts });
}
