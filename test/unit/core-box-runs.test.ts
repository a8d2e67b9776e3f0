import { expect, test } from "vitest";
import { boxRuns } from "../../src/core/box-runs.ts";

const runs = (wholeSize: number[], offset: number[], size: number[], origin?: number[]) =>
	[...boxRuns({ offset: origin ?? wholeSize.map(() => 0), size: wholeSize }, { offset, size })].map(
		({ start, length }) => [start, length],
	);

test.each([
	{ what: "rows are one run", whole: [4, 6], offset: [1, 0], size: [2, 6], expected: [[6, 12]] },
	{
		what: "columns are a run per row",
		whole: [3, 6],
		offset: [0, 2],
		size: [3, 2],
		expected: [
			[2, 2],
			[8, 2],
			[14, 2],
		],
	},
	{ what: "a scalar is one element", whole: [], offset: [], size: [], expected: [[0, 1]] },
	{ what: "all of a vector", whole: [5], offset: [0], size: [5], expected: [[0, 5]] },
	{ what: "nothing has no runs", whole: [5, 2], offset: [5, 0], size: [0, 2], expected: [] },
	{
		what: "whole inner axes are merged",
		whole: [2, 3, 2, 2],
		offset: [0, 1, 0, 0],
		size: [2, 2, 2, 2],
		expected: [
			[4, 8],
			[16, 8],
		],
	},
])("$what", ({ whole, offset, size, expected }) => {
	expect(runs(whole, offset, size)).toEqual(expected);
});

test("counts from the whole's own first element", () => {
	expect(runs([2, 2], [5, 8], [1, 2], [4, 8])).toEqual([[2, 2]]);
});

test("lists each element of a block once, in order", () => {
	const whole = { offset: [1, 2, 3], size: [3, 4, 5] };
	const part = { offset: [2, 3, 4], size: [2, 2, 3] };
	const listed = [...boxRuns(whole, part)].flatMap(({ start, length }) =>
		Array.from({ length }, (_, i) => start + i),
	);
	const expected: number[] = [];
	for (let a = 2; a < 4; a++)
		for (let b = 3; b < 5; b++)
			for (let c = 4; c < 7; c++) expected.push(((a - 1) * 4 + (b - 2)) * 5 + (c - 3));
	expect(listed).toEqual(expected);
});

test("goes on in the middle as if it had come there", () => {
	const whole = { offset: [0, 0, 0], size: [3, 4, 5] };
	const part = { offset: [1, 1, 2], size: [2, 3, 2] };
	const places = (skip: number): number[] =>
		[...boxRuns(whole, part, skip)].flatMap(({ start, length }) =>
			Array.from({ length }, (_, i) => start + i),
		);
	const all = places(0);
	expect(all).toHaveLength(12);
	for (let skip = 0; skip < 12; skip++) expect(places(skip)).toEqual(all.slice(skip));
});
