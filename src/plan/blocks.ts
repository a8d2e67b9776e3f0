import type { Expr } from "../core/expr.ts";

/**
 * The heights of the blocks of quantised weights that some expressions read, in elements, each once: where rows are cut at multiples
 * of one, no scale is needed on both sides. Which axis of a value they belong to is not said; a cut is tried.
 */
export function blocksOf(values: readonly { readonly expr: Expr }[]): ReadonlySet<number> {
	const blocks = new Set<number>();
	let last: Expr | undefined;
	for (const { expr } of values) {
		if (expr === last) continue;
		last = expr;
		for (const block of blocksIn(expr)) blocks.add(block);
	}
	return blocks;
}

/** A stack of hundreds of experts is asked by hundreds of ranks. */
const known = new WeakMap<Expr, ReadonlySet<number>>();

function blocksIn(expr: Expr): ReadonlySet<number> {
	let blocks = known.get(expr);
	if (blocks === undefined) {
		blocks = new Set(operandsOf(expr).flatMap((operand) => [...blocksIn(operand)]));
		if (expr.kind === "dequant") blocks = new Set(expr.block.filter((size) => size > 1));
		known.set(expr, blocks);
	}
	return blocks;
}

function operandsOf(expr: Expr): readonly Expr[] {
	switch (expr.kind) {
		case "concat":
		case "stack":
			return expr.parts;
		case "slice":
		case "permute":
		case "reshape":
		case "cast":
			return [expr.of];
		case "source":
		case "fill":
		case "dequant":
			return [];
	}
}
