import { assertNever } from "../core/errors.ts";
import type { LayoutRules } from "../core/layout.ts";
import { at, type Shape } from "../core/shape.ts";
import type { Cut, StorageCuts } from "./cuts.ts";
import { layoutInvalid } from "./invalid.ts";
import type { Mesh } from "./mesh.ts";
import type { Parallelism } from "./parallelism.ts";
import { keyRule, type KeyRule } from "./torchtitan-keys.ts";

/** The job as the rules see it. */
export interface TorchtitanJob {
	readonly parallelism: Parallelism;
	readonly rules: LayoutRules;
	readonly dense: Mesh;
	/** The experts' mesh; only with EP. */
	readonly sparse: Mesh | undefined;
}

/**
 * How torchtitan stores one tensor: tensor or expert parallelism cuts first, then FSDP cuts what is left.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` for a name that no rule knows, or experts that EP does not divide.
 */
export function torchtitanCuts(fqn: string, shape: Shape, job: TorchtitanJob): StorageCuts {
	const rule = keyRule(fqn);
	if (rule === undefined) {
		throw layoutInvalid(
			`no layout rule is known for ${fqn}`,
			"Check that the target is the trainer that will load the checkpoint; torchtitan has no parameter of this name.",
			{ fqn },
		);
	}
	// FSDP2 refuses scalar parameters, so a tensor without dimensions is a buffer.
	if (shape.length === 0) return { mesh: job.dense, cuts: [] };
	if (rule.kind === "expert") return expertCuts(fqn, shape, rule, job);
	return { mesh: job.dense, cuts: denseCuts(fqn, rule, job) };
}

function denseCuts(
	fqn: string,
	rule: Exclude<KeyRule, { kind: "expert" }>,
	{ parallelism, rules }: TorchtitanJob,
): readonly Cut[] {
	const fsdp: Cut = { axis: "fsdp", dim: 0 };
	const column: readonly Cut[] = [{ axis: "tp", dim: 0 }, fsdp];
	switch (rule.kind) {
		case "whole":
			return [];
		case "qkv":
			return rules.fusedQkv ? [] : column;
		case "column":
			return column;
		case "row":
			return [{ axis: "tp", dim: 1 }, fsdp];
		case "uncut":
			return [fsdp];
		case "fsdpOnly":
			if (parallelism.tp > 1) {
				throw layoutInvalid(
					`torchtitan has no tensor parallelism for ${fqn}`,
					"Leave tp at 1 for this model.",
					{ fqn, tp: parallelism.tp },
				);
			}
			return [fsdp];
		default:
			return assertNever(rule.kind);
	}
}

/** @see torchtitan b5bcd76c `distributed/fsdp.py`, `apply_fsdp_to_decoder`: how FSDP chooses the experts' dimension. */
function expertCuts(
	fqn: string,
	shape: Shape,
	{ tensorParallelDim }: Extract<KeyRule, { kind: "expert" }>,
	job: TorchtitanJob,
): StorageCuts {
	const { parallelism, sparse } = job;
	const experts = at(shape, 0);
	const { dpReplicate, dpShard, cp, tp, ep, etp } = parallelism;
	if (sparse === undefined) {
		const tensor: readonly Cut[] =
			tensorParallelDim === undefined ? [] : [{ axis: "tp", dim: tensorParallelDim }];
		const fsdpRanks = dpReplicate * dpShard * cp;
		const dim = isInnerCut(job.rules, fsdpRanks, tp, experts) ? 1 : 0;
		return { mesh: job.dense, cuts: [...tensor, { axis: "fsdp", dim }] };
	}
	if (experts % ep !== 0) {
		throw layoutInvalid(
			`ep ${ep} does not divide the ${experts} experts of ${fqn}`,
			"Choose an ep that divides the number of experts.",
			{ fqn, ep, experts },
		);
	}
	const expertTensor: readonly Cut[] =
		tensorParallelDim === undefined ? [] : [{ axis: "etp", dim: tensorParallelDim }];
	const dim = (dpShard * cp * tp) / etp > experts ? 1 : 0;
	return {
		mesh: sparse,
		cuts: [{ axis: "ep", dim: 0 }, ...expertTensor, { axis: "efsdp", dim }],
	};
}

/** Whether FSDP cuts inside experts, because there are more ranks than experts. */
function isInnerCut(rules: LayoutRules, fsdpRanks: number, tp: number, experts: number): boolean {
	switch (rules.expertThreshold) {
		case "fsdp":
			return fsdpRanks > experts;
		case "fsdp_tp":
			return fsdpRanks * tp > experts;
		case "never":
			return false;
		default:
			return assertNever(rules.expertThreshold);
	}
}
