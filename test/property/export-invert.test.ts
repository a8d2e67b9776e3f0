import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { intersectBoxes, boxNumel } from "../../src/core/box.ts";
import {
	cast,
	concat,
	type Expr,
	permute,
	reshape,
	slice,
	source,
	sourcesOf,
	stack,
} from "../../src/core/expr.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { numel } from "../../src/core/shape.ts";
import { invertRecipe, leafName } from "../../src/export/invert.ts";
import { leafExpr, restoreLeaves, type StoredTensor } from "../../src/export/restore.ts";
import { arbitraryExpr } from "../support/arbitrary-expr.ts";
import { evaluateExpr, takeBox } from "../support/naive-expr.ts";
import { createRandom, type Random, randomBytes } from "../support/random.ts";

/** Random bytes for every source tensor. Scales stay finite: their products then tell one element from another. */
function randomTensors(exprs: readonly Expr[]): Map<string, Uint8Array> {
	const tensors = exprs.flatMap(sourcesOf);
	return new Map(
		tensors.map(({ name, shape, dtype }, i) => [
			name,
			randomBytes(numel(shape) * itemBytes(dtype), i + 1).map((byte) => byte & 0x7b),
		]),
	);
}

describe("a recipe undone", () => {
	test("gives every element that it read, once, at its place: any expression, plain and quantised", () => {
		fc.assert(
			fc.property(arbitraryExpr(), (expr) => {
				const tensors = randomTensors([expr]);
				const read = (name: string): Uint8Array => tensors.get(name)!;
				const value = evaluateExpr(expr, read);
				const blocks = invertRecipe(expr, source("value", expr.dtype, expr.shape));
				for (const { leaf, box, expr: back } of blocks) {
					expect(back.shape).toEqual(box.size);
					const found = evaluateExpr(back, () => value);
					const leafBytes = evaluateExpr(leaf, read);
					const expected = takeBox(leafBytes, leaf.shape, leaf.dtype, box);
					expect(Buffer.from(found).equals(expected)).toBe(true);
				}
				const elements = blocks.reduce((sum, { box }) => sum + boxNumel(box), 0);
				expect(elements).toBe(numel(expr.shape));
				blocks.forEach((one, i) => {
					for (const other of blocks.slice(i + 1)) {
						if (leafName(one.leaf) !== leafName(other.leaf)) continue;
						expect(intersectBoxes(one.box, other.box)).toBeUndefined();
					}
				});
			}),
			{ numRuns: 300, interruptAfterTimeLimit: 6000 },
		);
	});
});

/** Source tensors, cut, turned and joined at random, so that every element of theirs ends up in exactly one of the results. */
function scrambled(random: Random): { readonly sources: Expr[]; readonly targets: Expr[] } {
	const sources = Array.from({ length: 1 + random.below(3) }, (_, i) => {
		const shape = Array.from({ length: 1 + random.below(3) }, () => random.pick([1, 2, 3, 4, 6]));
		return source(`s${i}`, "bfloat16", shape);
	});
	let targets: Expr[] = [...sources];
	for (let step = random.below(12); step > 0; step--) {
		const index = random.below(targets.length);
		const one = targets[index]!;
		targets = targets.toSpliced(index, 1, ...changed(one, random));
		targets = joined(targets, random);
	}
	return { sources, targets };
}

function changed(one: Expr, random: Random): Expr[] {
	const { shape } = one;
	const axis = random.below(shape.length);
	switch (random.below(4)) {
		case 0: {
			if (shape[axis]! < 2) return [one];
			const cut = 1 + random.below(shape[axis]! - 1);
			return [slice(one, axis, 0, cut), slice(one, axis, cut, shape[axis]!)];
		}
		case 1: {
			const axes = shape.map((_, d) => d).toSorted(() => random.below(3) - 1);
			return [permute(one, axes)];
		}
		case 2: {
			const even = shape.findIndex((size) => size % 2 === 0);
			if (even < 0) return [reshape(one, [numel(shape)])];
			return [reshape(one, shape.toSpliced(even, 1, shape[even]! / 2, 2))];
		}
		default:
			return [cast(one, "float32")];
	}
}

function joined(targets: Expr[], random: Random): Expr[] {
	if (targets.length < 2 || random.below(3) > 0) return targets;
	const [a, b, ...rest] = targets.toSorted(() => random.below(3) - 1) as [Expr, Expr, ...Expr[]];
	const axis = random.below(a.shape.length);
	try {
		return [random.below(2) === 0 ? concat([a, b], axis) : stack([a, b], axis), ...rest];
	} catch {
		return targets;
	}
}

test("sources that were scrambled into targets come back whole, bit for bit", () => {
	let whole = 0;
	let knots = 0;
	fc.assert(
		fc.property(fc.nat(), (seed) => {
			const { sources, targets } = scrambled(createRandom(seed));
			const tensors = randomTensors(sources);
			const values = new Map<string, Uint8Array>();
			const stored = targets.map((recipe, i): StoredTensor => {
				values.set(
					`t${i}`,
					evaluateExpr(recipe, (name) => tensors.get(name)!),
				);
				return { fqn: `t${i}`, recipe, value: source(`t${i}`, recipe.dtype, recipe.shape) };
			});
			const { leaves, copies, constants } = restoreLeaves(stored);
			expect({ copies, constants }).toEqual({ copies: [], constants: [] });
			for (const leaf of sources) {
				if (leaf.kind !== "source") throw new Error("not a source");
				let back: Expr;
				try {
					back = leafExpr(leaf.name, leaves.get(leaf.name)!, leaf.dtype);
				} catch {
					// Cuts of reshapes of cuts can lie like the arms of a pinwheel, which no straight cut takes apart.
					knots++;
					continue;
				}
				whole++;
				const found = evaluateExpr(back, (name) => values.get(name)!);
				expect(Buffer.from(found).equals(tensors.get(leaf.name)!)).toBe(true);
			}
		}),
		{ numRuns: 600, interruptAfterTimeLimit: 6000 },
	);
	expect(whole).toBeGreaterThan(20 * knots);
});
