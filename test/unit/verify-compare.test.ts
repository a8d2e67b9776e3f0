import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boxNumel } from "../../src/core/box.ts";
import { boxRuns } from "../../src/core/box-runs.ts";
import type { Dtype } from "../../src/core/dtype.ts";
import {
	createDifferenceTally,
	describeDifference,
} from "../../src/verify/compare/difference-tally.ts";
import { elementText, formatElement } from "../../src/verify/compare/element.ts";
import { indexIn, type PlacedBlock, storedRuns } from "../../src/verify/compare/stored-block.ts";
import { globMatcher } from "../../src/verify/glob.ts";

/** A box of one to four axes, and a box inside it. */
const boxes = fc
	.array(
		fc
			.tuple(fc.nat(5), fc.nat(3), fc.integer({ min: 1, max: 4 }), fc.nat(3))
			.map(([start, before, size, after]) => ({ start, before, size, after })),
		{ minLength: 1, maxLength: 4 },
	)
	.map((axes) => ({
		whole: {
			offset: axes.map(({ start }) => start),
			size: axes.map(({ before, size, after }) => before + size + after),
		},
		part: {
			offset: axes.map(({ start, before }) => start + before),
			size: axes.map(({ size }) => size),
		},
	}));

test("any stretch of a part is where the runs of the part say", () => {
	fc.assert(
		fc.property(boxes, fc.nat(), fc.nat(), ({ whole, part }, from, length) => {
			const elements = [...boxRuns(whole, part)].flatMap((run) =>
				Array.from({ length: run.length }, (_, i) => run.start + i),
			);
			const start = from % boxNumel(part);
			const end = start + 1 + (length % (boxNumel(part) - start));
			const found = [...storedRuns(whole, part, start, end)].flatMap((run) =>
				Array.from({ length: run.length }, (_, i) => run.element + i),
			);
			expect(found).toEqual(elements.slice(start, end));
		}),
		{ numRuns: 500 },
	);
});

test("the one element of a tensor without axes", () => {
	const whole = { offset: [], size: [] };
	expect([...storedRuns(whole, whole, 0, 1)]).toEqual([{ element: 0, length: 1 }]);
});

function blockOf(dtype: Dtype, more: Partial<PlacedBlock> = {}): PlacedBlock {
	const box = { offset: [4, 0], size: [2, 3] };
	return { fqn: "w", dtype, box, order: [0, 1], file: "__0_0.distcp", begin: 100, ...more };
}

describe("what differs", () => {
	test("is counted by element, and the first one is told of whatever the order", () => {
		const tally = createDifferenceTally();
		const block = blockOf("float32");
		const [found, expected] = [new Float32Array([1, 2, 3]), new Float32Array([1, 4, 2.5])];
		const bytes = [found, expected].map(({ buffer }) => new Uint8Array(buffer));
		tally.add(block, 3, bytes[0]!, bytes[1]!);
		tally.add(block, 0, bytes[1]!, bytes[0]!);
		tally.add(block, 0, bytes[0]!, bytes[0]!);
		expect(tally.differences).toEqual([
			{
				fqn: "w",
				elements: 4,
				blocks: 1,
				largest: 2,
				first: {
					index: [4, 1],
					file: "__0_0.distcp",
					offset: 104,
					found: { bits: "0x40800000", value: "4" },
					expected: { bits: "0x40000000", value: "2" },
				},
			},
		]);
		expect(describeDifference(tally.differences[0]!)).toBe(
			'4 elements of "w" differ, by at most 2; the first is [4, 1]: 4 (0x40800000) instead of 2 (0x40000000), at byte 104 of "__0_0.distcp"',
		);
	});

	test("has no distance where a value is NaN, or no number at all", () => {
		const tally = createDifferenceTally();
		const nan = Uint8Array.of(0xc0, 0x7f);
		tally.add(blockOf("bfloat16"), 0, nan, Uint8Array.of(0x80, 0x3f));
		// Two NaNs of other bits are two things.
		tally.add(blockOf("bfloat16", { fqn: "nan" }), 0, nan, Uint8Array.of(0xc1, 0x7f));
		tally.add(blockOf("float8_e4m3fn", { fqn: "f8" }), 5, Uint8Array.of(1), Uint8Array.of(2));
		expect(tally.differences.map(({ fqn, largest }) => [fqn, largest])).toEqual([
			["w", undefined],
			["nan", undefined],
			["f8", undefined],
		]);
		expect(tally.differences[2]!.first).toMatchObject({
			index: [5, 2],
			found: { bits: "0x01" },
		});
	});

	test("in a transposed block has the index of the tensor", () => {
		const block = blockOf("bfloat16", { order: [1, 0], box: { offset: [10, 20], size: [2, 3] } });
		expect(indexIn(block, 5)).toEqual([22, 11]);
	});
});

test.each<[Dtype, number[], string]>([
	["float16", [0x01, 0x3c], "1.0009765625 (0x3c01)"],
	["bfloat16", [0x80, 0xff], "-Infinity (0xff80)"],
	["float64", [0, 0, 0, 0, 0, 0, 0xf0, 0x3f], "1 (0x3ff0000000000000)"],
	["int64", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "-1 (0xffffffffffffffff)"],
	["float8_e4m3fn", [0x38], "0x38"],
])("an element of %s", (dtype, bytes, text) => {
	const padded = Buffer.from([9, 9, 9, ...bytes, 9]);
	expect(formatElement(elementText(dtype, padded, 3))).toBe(text);
});

test("patterns of names", () => {
	const names = ["layers.0.wq", "layers.10.wq", "layersx0xwq", "norm.weight"];
	const matching = (pattern: string): string[] => names.filter(globMatcher(pattern));
	expect(matching("*")).toEqual(names);
	expect(matching("layers.*.wq")).toEqual(["layers.0.wq", "layers.10.wq"]);
	expect(matching("layers.?.w*")).toEqual(["layers.0.wq"]);
	expect(matching("norm")).toEqual([]);
	expect(globMatcher("a+(b)[c]|^$\\-/")("a+(b)[c]|^$\\-/")).toBe(true);
});
