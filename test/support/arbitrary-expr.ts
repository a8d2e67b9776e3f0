import * as fc from "fast-check";
import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import { concat, type Expr, permute, reshape, slice, source, stack } from "../../src/core/expr.ts";
import { numel } from "../../src/core/shape.ts";

/** Splits a number into factors, in random order. */
function factorings(value: number): number[][] {
	const found: number[][] = [[value]];
	for (let first = 2; first < value; first++) {
		if (value % first !== 0) continue;
		for (const rest of factorings(value / first)) found.push([first, ...rest]);
	}
	return found;
}

/** Numbers from 0 up to but not including `below`. */
type Next = (below: number) => number;

/** 8-bit floats with scales: blocks that do and do not divide the shape, some of them of a single element. */
function fp8Leaf(name: string, shape: readonly number[], next: Next): Expr {
	const block = shape.map(() => 1 + next(5));
	const codec = next(2) === 0 ? "float8_e4m3fn" : "float8_e5m2";
	const scales = (["float32", "bfloat16", "float16", "float8_e8m0fnu"] as const)[next(4)]!;
	const blocks = shape.map((size, d) => Math.ceil(size / block[d]!));
	const weight = source(name, codec, shape);
	return dequantFp8Block(weight, source(`${name}.scales`, scales, blocks), block);
}

/** Elements of half a byte, of which the expression takes a stretch that begins and ends anywhere. */
function mxfp4Leaf(name: string, shape: readonly number[], next: Next): Expr {
	const last = shape.length - 1;
	const start = next(40);
	const groups = Math.ceil((start + shape[last]! + next(8)) / 32);
	const outer = shape.slice(0, last);
	const blocks = source(name, "uint8", [...outer, groups, 16]);
	const whole = dequantMxfp4(blocks, source(`${name}.scales`, "uint8", [...outer, groups]));
	return slice(whole, last, start, start + shape[last]!);
}

/** Random expressions over fresh sources, plain and quantised, at most a few hundred elements. */
export function arbitraryExpr(): fc.Arbitrary<Expr> {
	return fc.infiniteStream(fc.nat(1_000_003)).map((stream) => {
		const next: Next = (below) => Number(stream.next().value) % below;
		let count = 0;
		const leaf = (shape: readonly number[]): Expr => {
			const name = `s${count++}`;
			const kind = next(4);
			if (kind === 0) return fp8Leaf(name, shape, next);
			if (kind === 1 && shape.length > 0) return mxfp4Leaf(name, shape, next);
			return source(name, "float32", shape);
		};
		const grow = (shape: readonly number[], depth: number): Expr => {
			if (depth === 0) return leaf(shape);
			const elements = numel(shape);
			const axis = shape.length === 0 ? -1 : next(shape.length);
			switch (next(6)) {
				case 0:
					if (axis < 0) return leaf(shape);
					{
						const before = next(3);
						const larger = shape.map((size, d) => (d === axis ? size + before + next(3) : size));
						return slice(grow(larger, depth - 1), axis, before, before + shape[axis]!);
					}
				case 1: {
					const order = shape.map((_, d) => d);
					for (let d = order.length - 1; d > 0; d--) {
						const other = next(d + 1);
						[order[d], order[other]] = [order[other]!, order[d]!];
					}
					const inner: number[] = [];
					order.forEach((from, d) => (inner[from] = shape[d]!));
					return permute(grow(inner, depth - 1), order);
				}
				case 2: {
					const options = factorings(Math.max(1, elements));
					return reshape(grow(options[next(options.length)]!, depth - 1), shape);
				}
				case 3:
				case 4: {
					if (axis < 0 || shape[axis]! < 2) return leaf(shape);
					const first = 1 + next(shape[axis]! - 1);
					const parts = [first, shape[axis]! - first].map((size) =>
						grow(shape.with(axis, size), depth - 1),
					);
					return concat(parts, axis);
				}
				default: {
					if (axis < 0 || shape[axis]! > 5) return leaf(shape);
					const rest = shape.toSpliced(axis, 1);
					const parts = Array.from({ length: shape[axis]! }, () => grow(rest, depth - 1));
					return stack(parts, axis);
				}
			}
		};
		const rank = 1 + next(3);
		return grow(
			Array.from({ length: rank }, () => 1 + next(8)),
			4,
		);
	});
}

/** All that is read, each once and as it is read: source tensors, and quantised ones with their scales. Tests store them so that all is used. */
export function leavesOf(expr: Expr): Expr[] {
	switch (expr.kind) {
		case "source":
		case "dequant":
			return [expr];
		case "concat":
		case "stack":
			return expr.parts.flatMap(leavesOf);
		case "fill":
			return [];
		case "slice":
		case "permute":
		case "reshape":
		case "cast":
			return leavesOf(expr.of);
	}
}
