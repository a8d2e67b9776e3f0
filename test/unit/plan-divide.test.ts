import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { divide } from "../../src/plan/divide.ts";

function heaviest(shares: readonly (readonly number[])[], weights: readonly number[]): number {
	return Math.max(...shares.map((share) => share.reduce((sum, item) => sum + weights[item]!, 0)));
}

/** The best division there is, by trying all. */
function best(weights: readonly number[], count: number): number {
	const sums = Array.from({ length: count }, () => 0);
	let least = Infinity;
	const place = (item: number): void => {
		if (item === weights.length) least = Math.min(least, Math.max(...sums));
		for (let share = 0; item < weights.length && share < count; share++) {
			sums[share]! += weights[item]!;
			if (sums[share]! < least) place(item + 1);
			sums[share]! -= weights[item]!;
		}
	};
	place(0);
	return least;
}

describe("divide", () => {
	test("puts every item into one share, none of them much heavier than need be", () => {
		fc.assert(
			fc.property(
				fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 9 }),
				fc.integer({ min: 1, max: 4 }),
				(weights, count) => {
					const shares = divide(weights, count);
					expect(shares).toHaveLength(count);
					expect(shares.flat().toSorted((a, b) => a - b)).toEqual([...weights.keys()]);
					// 4/3 by the rule that the heaviest are dealt out first, 1.05 for the sake of order, a byte of the search.
					const limit = (4 / 3) * 1.05 * best(weights, count) + 1;
					expect(heaviest(shares, weights)).toBeLessThanOrEqual(limit);
				},
			),
		);
	});

	test.each<[string, number[], number, number[][]]>([
		[
			"equal items stay in order",
			[2, 2, 2, 2, 2, 2],
			3,
			[
				[0, 1],
				[2, 3],
				[4, 5],
			],
		],
		["a giant stands alone", [1, 1, 100, 1, 1], 3, [[0, 1], [2], [3, 4]]],
		["more shares than items", [5, 5], 4, [[0], [1], [], []]],
		[
			"items that weigh nothing",
			[0, 0, 3, 0, 3, 0],
			2,
			[
				[0, 1, 2, 3],
				[4, 5],
			],
		],
		["nothing", [], 2, [[], []]],
		[
			"what order cannot balance is dealt out",
			[6, 5, 1, 5, 1],
			2,
			[
				[0, 2, 4],
				[1, 3],
			],
		],
	])("%s", (_, weights, count, expected) => {
		const shares = divide(weights, count);
		const key = (share: readonly number[]): string => JSON.stringify(share);
		expect(new Set(shares.map(key))).toEqual(new Set(expected.map(key)));
		expect(heaviest(shares, weights)).toBe(heaviest(expected, weights));
	});
});
