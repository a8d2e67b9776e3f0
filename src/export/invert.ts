import type { Block } from "../checkpoint/assemble.ts";
import { type Box, wholeBox } from "../core/box.ts";
import type {
	ConcatExpr,
	DequantExpr,
	Expr,
	PermuteExpr,
	SourceExpr,
	StackExpr,
} from "../core/expr.ts";
import { at, numel } from "../core/shape.ts";
import { permuteOf, reshapeOf, sliceOf } from "./relayout.ts";
import { reshapeBlock } from "./reshape-block.ts";

/** What a recipe reads: a source tensor, or quantised weights as the numbers that they mean. */
export type Leaf = SourceExpr | DequantExpr;

/** A block of a leaf, made of what the recipe made of it. */
export interface LeafBlock extends Block {
	readonly leaf: Leaf;
}

/** The source tensor that stands for a leaf: of quantised weights, that of the elements. */
export function leafName(leaf: Leaf): string {
	return leaf.kind === "source" ? leaf.name : leaf.weight.name;
}

/**
 * The way back: what `value` says of each leaf of `recipe`, whose value it is. Every relayout is undone by its inverse; casts are passed
 * over, so that blocks have the dtype of `value`; constants come from nowhere, and say nothing.
 *
 * Every element of the value that comes from a leaf is in exactly one of the blocks.
 *
 * @param value - Has the shape of `recipe`.
 */
export function invertRecipe(recipe: Expr, value: Expr): readonly LeafBlock[] {
	const found: LeafBlock[] = [];
	const visit = (node: Expr, block: Block): void => {
		switch (node.kind) {
			case "source":
			case "dequant":
				found.push({ leaf: node, ...block });
				break;
			case "fill":
				break;
			case "cast":
				visit(node.of, block);
				break;
			case "permute":
				visit(node.of, beforePermute(node, block));
				break;
			case "slice": {
				const { offset, size } = block.box;
				const start = at(offset, node.axis) + node.start;
				visit(node.of, { ...block, box: { offset: offset.with(node.axis, start), size } });
				break;
			}
			case "reshape":
				for (const one of reshapeBlock(block, node.shape, node.of.shape)) visit(node.of, one);
				break;
			case "concat":
				visitParts(node, block, visit);
				break;
			case "stack":
				visitLayers(node, block, visit);
				break;
		}
	};
	if (numel(recipe.shape) > 0) visit(recipe, { box: wholeBox(recipe.shape), expr: value });
	return found;
}

type Visit = (node: Expr, block: Block) => void;

/** Axis `d` of the block is axis `axes[d]` of the operand. */
function beforePermute({ axes }: PermuteExpr, { box, expr }: Block): Block {
	const order = axes.map((_, axis) => axes.indexOf(axis));
	const back = (numbers: readonly number[]): number[] => order.map((d) => at(numbers, d));
	return {
		box: { offset: back(box.offset), size: back(box.size) },
		expr: permuteOf(expr, order),
	};
}

function visitParts({ axis, parts }: ConcatExpr, block: Block, visit: Visit): void {
	let begin = 0;
	for (const part of parts) {
		const end = begin + at(part.shape, axis);
		const own = rowsOf(block, axis, begin, end);
		if (own !== undefined) visit(part, own);
		begin = end;
	}
}

function visitLayers({ axis, parts }: StackExpr, block: Block, visit: Visit): void {
	parts.forEach((part, index) => {
		const own = rowsOf(block, axis, index, index + 1);
		if (own === undefined) return;
		const without = (numbers: readonly number[]): number[] => numbers.toSpliced(axis, 1);
		const box: Box = { offset: without(own.box.offset), size: without(own.box.size) };
		visit(part, { box, expr: reshapeOf(own.expr, box.size) });
	});
}

/** What of a block lies in rows `[begin, end)` of `axis`, counted from there. */
function rowsOf({ box, expr }: Block, axis: number, begin: number, end: number): Block | undefined {
	const start = at(box.offset, axis);
	const from = Math.max(begin, start);
	const to = Math.min(end, start + at(box.size, axis));
	if (from >= to) return undefined;
	return {
		box: { offset: box.offset.with(axis, from - begin), size: box.size.with(axis, to - from) },
		expr: sliceOf(expr, axis, from - start, to - start),
	};
}
