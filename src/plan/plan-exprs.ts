import { itemBytes } from "../core/dtype.ts";
import type { Expr } from "../core/expr.ts";
import type { Layout } from "../core/layout.ts";
import type { EntryFormat } from "../core/ports.ts";
import type { ModelMap, SourceNote } from "../core/recipe.ts";
import { numel } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import { createPlan } from "./create-plan.ts";
import type { Plan, PlanLimits } from "./types.ts";

/** Expressions of which blocks are wanted. */
export interface ExprPlanInputs {
	/** What the expressions are made of. */
	readonly source: Source;
	/** Names that are unique, for `shardsOf` and for messages. */
	readonly tensors: readonly { readonly fqn: string; readonly expr: Expr }[];
	/** Which blocks of each are wanted; they need not cover it. */
	readonly shardsOf: Layout["shardsOf"];
	/** One more than the highest rank among the shards. @default 1 */
	readonly worldSize?: number | undefined;
	readonly limits: PlanLimits;
	/** Source tensors that may be used more than once. @default none */
	readonly tied?: readonly SourceNote[] | undefined;
}

/** Elements alone, with nothing around them. */
const BARE: EntryFormat = {
	name: "bare",
	geometry: (dtype, shape) => ({
		prefixBytes: 0,
		dataBytes: numel(shape) * itemBytes(dtype),
		suffixBytes: 0,
	}),
};

/** What a plan needs to know of a model only where it is laid out for a mesh. */
const NO_MODEL: Omit<ModelMap, "recipes" | "tied"> = {
	family: "",
	target: "",
	facts: { layers: 0, attentionHeads: 0, keyValueHeads: 0, experts: 0, tiedEmbeddings: false },
	rules: { kind: "fsdp", fusedQkv: false, expertThreshold: "never", expertTensorParallel: false },
	dropped: [],
	synthesised: [],
	dequantised: [],
};

/**
 * A plan that is no conversion: it makes blocks of expressions, each in the dtype of its expression, bare, for a sink of the caller's own.
 * What does not fit into memory at once becomes several entries.
 *
 * @throws {HfStreamDcpError} as `createPlan`.
 */
export function planExprs(inputs: ExprPlanInputs): Plan {
	const { source, tensors, shardsOf, worldSize = 1, limits, tied = [] } = inputs;
	const dtypes = new Map(tensors.map(({ fqn, expr }) => [fqn, expr.dtype]));
	const recipes = tensors.map(({ fqn, expr }) => ({ fqn, expr, keepDtype: true }));
	return createPlan({
		source,
		map: { ...NO_MODEL, recipes, tied },
		layout: {
			worldSize,
			description: "blocks that are wanted",
			shardsOf,
			dtypeOf: (fqn) => dtypes.get(fqn),
		},
		format: BARE,
		dtype: undefined,
		limits,
		use: "any",
	});
}
