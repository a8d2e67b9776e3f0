import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Box } from "../../src/core/box.ts";
import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import { cast, concat, type Expr, permute, reshape, slice, source } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { numel } from "../../src/core/shape.ts";
import { describeCover } from "../../src/plan/check.ts";
import { misusedTensors } from "../../src/plan/source-use.ts";
import { type ElementSet, elementSet, tallyOf } from "../../src/plan/tally.ts";
import { mapFor, sourceFor } from "../support/plan-fixtures.ts";

/** Every element of a set, one at a time. */
function elementsOf({ first, loops }: ElementSet): readonly number[] {
	return loops.reduce<readonly number[]>(
		(starts, { size, stride }) =>
			starts.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * stride)),
		[first],
	);
}

function naiveTally(sets: readonly ElementSet[], length: number): unknown {
	const counts = new Uint32Array(length);
	for (const element of sets.flatMap(elementsOf)) counts[element]!++;
	return {
		never: counts.filter((count) => count === 0).length,
		repeatedly: counts.filter((count) => count > 1).length,
	};
}

/** A shape, and boxes in it of which each axis is divided by chance. */
const boxes = fc
	.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 })
	.chain((shape) =>
		fc.record({
			shape: fc.constant(shape),
			boxes: fc.array(
				fc
					.tuple(...shape.map((size) => fc.tuple(fc.nat(size - 1), fc.nat(size - 1))))
					.map((spans): Box => ({
						offset: spans.map(([a, b]) => Math.min(a, b)),
						size: spans.map(([a, b]) => Math.abs(a - b) + 1),
					})),
				{ maxLength: 6 },
			),
		}),
	);

/** Nested loops within `length`, of strides that do not always divide one another. */
const sets = fc
	.record({
		length: fc.integer({ min: 1, max: 400 }),
		drafts: fc.array(
			fc.record({
				first: fc.nat(399),
				steps: fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 5 })), {
					maxLength: 3,
				}),
			}),
			{ maxLength: 5 },
		),
	})
	.map(({ length, drafts }) => ({
		length,
		sets: drafts
			.map(({ first, steps }) => {
				let span = 1;
				const loops = steps.map(([size, gap]) => {
					const stride = span + gap;
					span += stride * (size - 1);
					return { size, stride };
				});
				return { set: elementSet(first % length, loops), end: (first % length) + span };
			})
			.filter(({ end }) => end <= length)
			.map(({ set }) => set),
	}));

describe("a tally", () => {
	test("of strided sets equals that of their elements", () => {
		fc.assert(
			fc.property(sets, (chosen) => {
				expect(tallyOf(chosen.sets, chosen.length)).toEqual(naiveTally(chosen.sets, chosen.length));
			}),
			{ numRuns: 2000 },
		);
	});

	test("of blocks tells whether they divide a tensor", () => {
		fc.assert(
			fc.property(boxes, ({ shape, boxes: some }) => {
				const counts = new Uint32Array(numel(shape));
				for (const { offset, size } of some) {
					for (let i = 0; i < counts.length; i++) {
						let rest = i;
						const index = shape.map((_, d) => {
							const stride = numel(shape.slice(d + 1));
							const at = Math.floor(rest / stride);
							rest -= at * stride;
							return at;
						});
						if (index.every((at, d) => offset[d]! <= at && at < offset[d]! + size[d]!)) {
							counts[i]!++;
						}
					}
				}
				const shards = some.map((box) => ({ box, ranks: [0] }));
				const isDivided = counts.every((count) => count === 1);
				expect(describeCover(shards, shape) === undefined).toBe(isDivided);
			}),
			{ numRuns: 1000 },
		);
	});

	test("of a large tensor takes no time in proportion to its elements", () => {
		const [experts, hidden, inner] = [256, 7168, 2048];
		const length = experts * hidden * 2 * inner;
		const halves = [0, inner].map((first) =>
			elementSet(first, [
				{ size: experts * hidden, stride: 2 * inner },
				{ size: inner, stride: 1 },
			]),
		);
		expect(tallyOf(halves, length)).toEqual({ never: 0, repeatedly: 0 });
		expect(tallyOf([halves[0]!, halves[0]!], length)).toEqual({
			never: length / 2,
			repeatedly: length / 2,
		});
	});
});

test("a block that lies outside of a tensor is said", () => {
	const box = { offset: [0, 2], size: [2, 3] };
	expect(describeCover([{ box, ranks: [0] }], [2, 4])).toBe(
		"the block [0:2, 2:5] lies outside of it",
	);
});

/** Cuts an axis of a value of shape [4, 6, 2] in two and puts one half through reshapes and permutations: what partial reshapes are made of. */
const halves = fc
	.record({
		axis: fc.nat(2),
		cut: fc.nat(5),
		second: fc.nat(5),
		turn: fc.constantFrom([0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]),
		flatten: fc.boolean(),
	})
	.map(({ axis, cut, second, turn, flatten }) => {
		const x = source("x", "float32", [24, 2]);
		const turned = permute(reshape(x, [4, 6, 2]), turn);
		const size = turned.shape[axis]!;
		const shaped = (part: Expr): Expr => (flatten ? reshape(part, [numel(part.shape)]) : part);
		return [
			shaped(slice(turned, axis, 0, (cut % size) + 1)),
			...(second % size < size - 1 ? [shaped(slice(turned, axis, (second % size) + 1, size))] : []),
		];
	});

function usesOf(exprs: readonly Expr[]): Uint32Array {
	const counts = new Uint32Array(48);
	for (const expr of exprs) for (const index of naiveIndices(expr)) counts[index]!++;
	return counts;
}

/** Which element of `x` each element of `expr` is, by the definition of the nodes. */
function naiveIndices(expr: Expr): readonly number[] {
	if (expr.kind === "source") return Array.from({ length: numel(expr.shape) }, (_, i) => i);
	if (expr.kind === "reshape") return naiveIndices(expr.of);
	if (expr.kind !== "slice" && expr.kind !== "permute") throw new Error(expr.kind);
	const inner = naiveIndices(expr.of);
	const shape = expr.of.shape;
	return Array.from({ length: numel(expr.shape) }, (_, flat) => {
		let rest = flat;
		const index = expr.shape.map((_unused, d) => {
			const stride = numel(expr.shape.slice(d + 1));
			const at = Math.floor(rest / stride);
			rest -= at * stride;
			return at;
		});
		const from =
			expr.kind === "slice"
				? index.map((at, d) => (d === expr.axis ? at + expr.start : at))
				: shape.map((_unused, d) => index[expr.axes.indexOf(d)]!);
		return inner[from.reduce((sum, at, d) => sum + at * numel(shape.slice(d + 1)), 0)]!;
	});
}

function misused(exprs: readonly Expr[], map: ModelMap = mapFor(exprs)): unknown {
	return misusedTensors(sourceFor(exprs, 5), map).map(({ name, reason }) => `${name}: ${reason}`);
}

describe("the use of a source", () => {
	test("is counted element by element, also through parts of reshapes", () => {
		fc.assert(
			fc.property(halves, (exprs) => {
				const counts = usesOf(exprs);
				const never = counts.filter((count) => count === 0).length;
				const repeatedly = counts.filter((count) => count > 1).length;
				const parts = [
					...(never > 0 ? [`${never} of its 48 elements are never used`] : []),
					...(repeatedly > 0 ? [`${repeatedly} of its 48 elements are used more than once`] : []),
				];
				expect(misused(exprs)).toEqual(parts.length === 0 ? [] : [`x: ${parts.join(", ")}`]);
			}),
			{ numRuns: 1000 },
		);
	});

	test("as many elements as it has, but not the same ones", () => {
		const x = source("x", "float32", [24, 2]);
		const half = slice(reshape(x, [2, 12, 2]), 1, 0, 6);
		// The sizes add up: a count would not see it.
		expect(misused([half, reshape(half, [24])])).toEqual([
			"x: 24 of its 48 elements are never used, 24 of its 48 elements are used more than once",
		]);
	});

	const embed = source("embed", "float32", [6, 4]);
	const tied = [{ name: "embed", reason: "test" }];
	const tiedMap = (head: Expr, body: Expr = embed): ModelMap => {
		const map = mapFor([body, head], { tied });
		return { ...map, recipes: map.recipes.map((one, i) => ({ ...one, isTied: i === 1 })) };
	};

	test("tied: by its own recipe once, and by the copy once", () => {
		expect(misused([embed], tiedMap(embed))).toEqual([]);
	});

	test("tied: half of it by its own recipe is not mended by the copy", () => {
		const half = slice(embed, 0, 0, 3);
		const twice = concat([half, half], 0);
		expect(misused([embed], tiedMap(embed, twice))).toEqual([
			"embed: 12 of its 24 elements are never used, 12 of its 24 elements are used more than once",
		]);
		expect(misused([embed], tiedMap(twice))).toEqual([
			"embed: 12 of its 24 elements are never used, 12 of its 24 elements are used more than once",
		]);
	});

	test("tied: the copy alone is enough, as a target may have its key alone", () => {
		const map = tiedMap(embed);
		expect(misused([embed], { ...map, recipes: map.recipes.slice(1), tied: [] })).toEqual([]);
	});

	test("a copy of what nothing ties is an error", () => {
		const map = { ...tiedMap(embed), tied: [] };
		expect(misused([embed], map)).toEqual(["embed: it is stored again, though nothing ties it"]);
	});

	test("quantised: every weight once, every scale at least once", () => {
		const weight = source("w", "float8_e4m3fn", [200, 130]);
		const scales = source("s", "float32", [2, 2]);
		const value = dequantFp8Block(weight, scales, [128, 128]);
		const stored = (start: number, end: number): Expr =>
			cast(permute(slice(value, 0, start, end), [1, 0]), "bfloat16");
		expect(misused([stored(0, 60), stored(60, 200)])).toEqual([]);
		expect(misused([stored(0, 120)])).toEqual([
			"s: 2 of its 4 elements are never used",
			"w: 10400 of its 26000 elements are never used",
		]);
		expect(misused([stored(0, 160), stored(150, 200)])).toEqual([
			"w: 1300 of its 26000 elements are used more than once",
		]);
	});

	test("quantised: two elements to a byte", () => {
		const blocks = source("b", "uint8", [3, 4, 16]);
		const value = dequantMxfp4(blocks, source("s", "uint8", [3, 4]));
		const half = (start: number): Expr => cast(slice(value, 1, start, start + 64), "bfloat16");
		expect(misused([half(0), half(64)])).toEqual([]);
		expect(misused([half(0)])).toEqual([
			"b: 192 of its 384 elements are never used",
			"s: 6 of its 12 elements are never used",
		]);
	});

	test("a tensor without elements is used by name", () => {
		const none = source("none", "float32", [0, 4]);
		expect(misused([none])).toEqual([]);
		expect(misused([none], mapFor([]))).toEqual(["none: it is not used, and no rule drops it"]);
	});

	test("a tensor that is dropped and used all the same", () => {
		expect(misused([embed], mapFor([embed], { dropped: tied }))).toEqual([
			"embed: a rule drops it, but it is used",
		]);
	});
});
