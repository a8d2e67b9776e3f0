import type { NumberText } from "./numbers.ts";
import type { Template } from "./template.ts";

/**
 * Rows of a query or key projection `[heads · d, …columns]`, or elements of its bias, from the half-split order that Hugging Face's
 * rotary embedding wants to the interleaved order of Meta's: row `h·d + 2i + j` of the value is row `h·d + j·d/2 + i` of `of`, for
 * 0 ≤ i < d/2 and j ∈ {0, 1}, where d is the size of a head.
 *
 * @see torchtitan `models/llama3/state_dict_adapter.py`, `_reverse_permute`; `models/muse_glimmer`, `_reverse_permute_1d`.
 */
export function interleaveRotary(
	of: Template,
	heads: NumberText,
	headDim: NumberText = "head_dim",
	columns: readonly NumberText[] = ["hidden"],
): Template {
	return {
		kind: "reshape",
		shape: [`${heads} * ${headDim}`, ...columns],
		of: {
			kind: "permute",
			axes: [0, 2, 1, ...columns.map((_, column) => 3 + column)],
			of: { kind: "reshape", shape: [heads, 2, `${headDim} / 2`, ...columns], of },
		},
	};
}

/** The last two dimensions of a three-dimensional tensor exchanged. */
export function transposeInner(of: Template): Template {
	return { kind: "permute", axes: [0, 2, 1], of };
}

/** Elements `start` up to but not including `end` of one axis. */
export function slice(of: Template, axis: number, start: NumberText, end: NumberText): Template {
	return { kind: "slice", axis, start, end, of };
}

/** Tensors one below the other. */
export function concatRows(parts: readonly Template[]): Template {
	return { kind: "concat", axis: 0, parts };
}

/** One matrix per routed expert, stacked along a new first dimension; `of` has the hole `{expert}`. */
export function stackExperts(of: Template): Template {
	return { kind: "stack", axis: 0, over: "expert", count: "experts", of };
}

/** The router's load-balancing bias: a buffer that the loader demands in fp32 and no export has. It starts at zero. */
export const ZERO_EXPERT_BIAS: Template = {
	kind: "fill",
	shape: ["experts"],
	value: 0,
	dtype: "float32",
};
