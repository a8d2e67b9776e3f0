import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Box } from "../../src/core/box.ts";
import { cast, type Expr, permute, reshape, source } from "../../src/core/expr.ts";
import type { Piece } from "../../src/core/ports.ts";
import { contiguousStrides, numel } from "../../src/core/shape.ts";
import { pull } from "../../src/plan/pull.ts";
import { arbitraryExpr } from "../support/arbitrary-expr.ts";

/** Which source element the value of `expr` has at `index`: the algebra's definition, one element at a time. */
function elementAt(expr: Expr, index: readonly number[]): string {
	switch (expr.kind) {
		case "source": {
			const strides = contiguousStrides(expr.shape);
			return `${expr.name}:${index.reduce((sum, i, d) => sum + i * strides[d]!, 0)}`;
		}
		case "fill":
			return `fill:${expr.value}`;
		case "cast":
			return elementAt(expr.of, index);
		case "slice":
			return elementAt(expr.of, index.with(expr.axis, index[expr.axis]! + expr.start));
		case "permute": {
			const inner: number[] = [];
			expr.axes.forEach((axis, d) => (inner[axis] = index[d]!));
			return elementAt(expr.of, inner);
		}
		case "reshape": {
			const strides = contiguousStrides(expr.shape);
			let flat = index.reduce((sum, i, d) => sum + i * strides[d]!, 0);
			const inner = contiguousStrides(expr.of.shape).map((stride) => {
				const i = Math.floor(flat / stride);
				flat -= i * stride;
				return i;
			});
			return elementAt(expr.of, inner);
		}
		case "stack":
			return elementAt(expr.parts[index[expr.axis]!]!, index.toSpliced(expr.axis, 1));
		case "concat": {
			let i = index[expr.axis]!;
			for (const part of expr.parts) {
				if (i < part.shape[expr.axis]!) return elementAt(part, index.with(expr.axis, i));
				i -= part.shape[expr.axis]!;
			}
			throw new Error("outside");
		}
		case "dequant": {
			const flat = (shape: readonly number[], at_: readonly number[]): number =>
				at_.reduce((sum, i, d) => sum * shape[d]! + i, 0);
			const block = index.map((i, d) => Math.floor(i / expr.block[d]!));
			const element = `${expr.weight.name}:${flat(expr.shape, index)}`;
			return `${element} × ${expr.scales.name}:${flat(expr.scales.shape, block)}`;
		}
	}
}

function indicesOf(box: Box): number[][] {
	let all: number[][] = [[]];
	box.size.forEach((size, d) => {
		all = all.flatMap((index) =>
			Array.from({ length: size }, (_, i) => [...index, box.offset[d]! + i]),
		);
	});
	return all;
}

/** What the pieces put where; fails on an element that is written twice. */
function written(pieces: readonly Piece[], elements: number): (string | undefined)[] {
	const out: (string | undefined)[] = Array.from({ length: elements }, () => undefined);
	for (const piece of pieces) {
		let places = [
			{
				from: piece.kind === "fill" ? 0 : piece.sourceOffset,
				scale: piece.kind === "dequant" ? piece.scaleOffset : 0,
				to: piece.targetOffset,
			},
		];
		for (const dim of piece.dims) {
			const step = "scaleStride" in dim ? dim.scaleStride : 0;
			places = places.flatMap(({ from, scale, to }) =>
				Array.from({ length: dim.size }, (_, i) => ({
					from: from + i * dim.sourceStride,
					scale: scale + i * step,
					to: to + i * dim.targetStride,
				})),
			);
		}
		for (const { from, scale, to } of places) {
			expect(out[to]).toBeUndefined();
			if (piece.kind === "fill") out[to] = `fill:${piece.value}`;
			else out[to] = `${piece.source}:${from}`;
			if (piece.kind === "dequant") out[to] += ` × ${piece.scales}:${scale}`;
		}
	}
	return out;
}

const exprAndBox = arbitraryExpr().chain((expr) =>
	fc
		.tuple(
			...expr.shape.map((size) =>
				fc
					.tuple(fc.nat(size), fc.nat(size))
					.map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
			),
		)
		.map((spans) => ({
			expr,
			box: { offset: spans.map(([a]) => a), size: spans.map(([a, b]) => b - a) },
		})),
);

describe("pull", () => {
	test("of a box is the box of the element-by-element value, each element written once", () => {
		fc.assert(
			fc.property(exprAndBox, ({ expr, box }) => {
				const expected = indicesOf(box).map((index) => elementAt(expr, index));
				expect(written(pull(expr, box), numel(box.size))).toEqual(expected);
			}),
			{ numRuns: 3000, interruptAfterTimeLimit: 20_000 },
		);
	});

	test("a row shard is one contiguous piece", () => {
		const expr = source("w", "bfloat16", [64, 32]);
		const box = { offset: [16, 0], size: [8, 32] };
		expect(pull(expr, box)).toEqual([
			{
				kind: "gather",
				source: "w",
				sourceDtype: "bfloat16",
				targetDtype: "bfloat16",
				sourceOffset: 512,
				targetOffset: 0,
				dims: [{ size: 256, sourceStride: 1, targetStride: 1 }],
			},
		]);
	});

	test("whole heads of a RoPE permutation are one strided piece", () => {
		const heads = 8;
		const half = 16;
		const expr = reshape(
			permute(
				reshape(source("q", "float32", [heads * 2 * half, 32]), [heads, 2, half, 32]),
				[0, 2, 1, 3],
			),
			[heads * 2 * half, 32],
		);
		const pieces = pull(expr, { offset: [64, 0], size: [64, 32] });
		expect(pieces).toHaveLength(1);
		expect(pieces[0]?.dims).toEqual([
			{ size: 2, sourceStride: 1024, targetStride: 1024 },
			{ size: 16, sourceStride: 32, targetStride: 64 },
			{ size: 2, sourceStride: 512, targetStride: 32 },
			{ size: 32, sourceStride: 1, targetStride: 1 },
		]);
	});

	test("a cast names both dtypes; a cast under a cast is refused", () => {
		const half = cast(source("w", "float32", [4]), "bfloat16");
		const box = { offset: [0], size: [4] };
		expect(pull(half, box)[0]).toMatchObject({ sourceDtype: "float32", targetDtype: "bfloat16" });
		expect(() => pull(cast(half, "float32"), box)).toThrow(/cast to bfloat16 under a cast/);
	});
});
