import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatRankRanges, listRanks, parseRankRanges } from "../../src/core/rank-ranges.ts";

test("ranks are written as ranges, and read back in order", () => {
	expect(formatRankRanges([16, 0, 1, 2, 4, 5])).toBe("0-2,4-5,16");
	fc.assert(
		fc.property(fc.uniqueArray(fc.nat(60), { minLength: 1 }), (ranks) => {
			const ranges = parseRankRanges(formatRankRanges(ranks));
			expect(ranges && listRanks(ranges)).toEqual(ranks.toSorted((a, b) => a - b));
		}),
	);
});

test.each(["", "a", "1-", "-1", "3-1", "2,1", "1,1", "0-2,2", "1, 2", "1,,2", "9999999999"])(
	"%j are no ranks",
	(text) => {
		expect(parseRankRanges(text)).toBeUndefined();
	},
);
