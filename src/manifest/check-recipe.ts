import { dequantFp8Block, dequantMxfp4 } from "../core/dequant.ts";
import {
	cast,
	concat,
	type Expr,
	fill,
	permute,
	reshape,
	slice,
	source,
	stack,
} from "../core/expr.ts";
import { shapesEqual } from "../core/shape.ts";
import type { SourceTensor } from "../core/source.ts";

/**
 * Checks that a recipe is what the algebra would build: every node has the shape and the dtype that follow from its operands, and
 * every source is there as it says.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID`, `DTYPE_UNSUPPORTED`
 * @returns What is wrong; `undefined` for a sound recipe.
 */
export function recipeFault(
	recipe: Expr,
	sources: ReadonlyMap<string, SourceTensor>,
): string | undefined {
	let fault: string | undefined;
	const visit = (node: Expr): void => {
		const operands = operandsOf(node);
		operands.forEach(visit);
		if (node.kind === "source") {
			const found = sources.get(node.name);
			if (found?.dtype !== node.dtype || !shapesEqual(found.shape, node.shape)) {
				fault ??= `the source has no ${node.name} of such a shape and dtype`;
			}
		}
		const built = build(node);
		const isSame = built.dtype === node.dtype && shapesEqual(built.shape, node.shape);
		if (!isSame || !hasSameCodecs(built, node)) {
			fault ??= `a ${node.kind} is something else than its operands make`;
		}
	};
	visit(recipe);
	return fault;
}

function hasSameCodecs(a: Expr, b: Expr): boolean {
	if (a.kind !== "dequant" || b.kind !== "dequant") return true;
	return a.codec === b.codec && a.scaleCodec === b.scaleCodec && shapesEqual(a.block, b.block);
}

function operandsOf(node: Expr): readonly Expr[] {
	switch (node.kind) {
		case "source":
		case "fill":
			return [];
		case "concat":
		case "stack":
			return node.parts;
		case "dequant":
			return [node.weight, node.scales];
		case "slice":
		case "permute":
		case "reshape":
		case "cast":
			return [node.of];
	}
}

/** The node anew, of its operands. */
function build(node: Expr): Expr {
	switch (node.kind) {
		case "source":
			return source(node.name, node.dtype, node.shape);
		case "fill":
			return fill(node.shape, node.value, node.dtype);
		case "slice":
			return slice(node.of, node.axis, node.start, node.end);
		case "permute":
			return permute(node.of, node.axes);
		case "reshape":
			return reshape(node.of, node.shape);
		case "concat":
			return concat(node.parts, node.axis);
		case "stack":
			return stack(node.parts, node.axis);
		case "cast":
			return cast(node.of, node.dtype);
		case "dequant":
			return node.codec === "float4_e2m1"
				? dequantMxfp4(node.weight, node.scales)
				: dequantFp8Block(node.weight, node.scales, node.block);
	}
}
