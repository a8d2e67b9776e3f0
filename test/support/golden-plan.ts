import { type Expr, permute, reshape, source, stack } from "../../src/core/expr.ts";
import type { Shape } from "../../src/core/shape.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import type { PlanInputs } from "../../src/plan/create-plan.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import type { PlanLimits } from "../../src/plan/types.ts";
import { type GoldenLayout, layoutOf } from "./golden-layouts.ts";
import { mapFor, sourceFor } from "./plan-fixtures.ts";

/** Tensors in one source file; a Hub repository has about this many, in order of name. */
const TENSORS_PER_FILE = 200;

/** Attention heads of the golden files' models: what the rows of `wq` are permuted by. */
export const HEADS = 4;

/** Bytes of a model beside which the default limits are small. */
const LARGE_BYTES = 8e9;

/**
 * What a plan for the mesh and the parameters of a golden layout is made of: experts are stacked from one transposed source tensor
 * each, the rows of `wq` are permuted by head, all others are copied.
 */
export function goldenInputs(golden: GoldenLayout): PlanInputs {
	const { layout } = layoutOf(golden);
	const params = Object.entries(golden.params).filter(
		([, { kind }]) => kind !== "param_not_in_state_dict",
	);
	const exprs = params.map(([fqn, param]) => recipeOf(fqn, param.global_shape));
	const { recipes, ...map } = mapFor(exprs);
	return {
		source: sourceFor(exprs, TENSORS_PER_FILE),
		map: {
			...map,
			recipes: recipes.map((recipe, i) => ({ ...recipe, fqn: params[i]?.[0] ?? recipe.fqn })),
		},
		layout,
		format: torchSaveFormat,
		dtype: "keep",
		limits: limitsOf(golden),
	};
}

/** The default limits, scaled down with the model: a debug model would otherwise be a single request. */
function limitsOf({ params }: GoldenLayout): PlanLimits {
	const limits = limitsFor(512 * 2 ** 20);
	const bytes = Object.values(params).reduce(
		(sum, { global_shape: shape }) => sum + shape.reduce((a, b) => a * b, 2),
		0,
	);
	const scale = Math.min(1, bytes / LARGE_BYTES);
	const scaled = (limit: number): number => Math.ceil(limit * scale);
	return {
		...limits,
		tileBytes: scaled(limits.tileBytes),
		requestBytes: scaled(limits.requestBytes),
	};
}

function recipeOf(fqn: string, shape: Shape): Expr {
	const [first = 0, second = 0, third = 0] = shape;
	if (shape.length === 3 && fqn.includes("experts")) {
		const experts = Array.from({ length: first }, (_, expert) =>
			permute(source(`${fqn}.${expert}`, "bfloat16", [third, second]), [1, 0]),
		);
		return stack(experts, 0);
	}
	if (isPermuted(fqn, shape)) {
		const heads = reshape(source(fqn, "bfloat16", shape), [HEADS, first / HEADS / 2, 2, second]);
		return reshape(permute(heads, [0, 2, 1, 3]), shape);
	}
	return source(fqn, "bfloat16", shape);
}

/** Whether the rows of a tensor are permuted by head. */
export function isPermuted(fqn: string, shape: Shape): boolean {
	const [first = 0] = shape;
	return shape.length === 2 && fqn.endsWith("wq.weight") && first % (2 * HEADS) === 0;
}
