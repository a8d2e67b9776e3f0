import { describe, expect, test } from "vitest";
import { contiguousStrides, numel } from "../../src/core/shape.ts";

describe("shape", () => {
	test.each([
		[[], 1, []],
		[[3], 3, [1]],
		[[2, 3, 4], 24, [12, 4, 1]],
		[[2, 0, 4], 0, [0, 4, 1]],
	])("%j has %i elements and strides %j", (shape, elements, strides) => {
		expect(numel(shape)).toBe(elements);
		expect(contiguousStrides(shape)).toEqual(strides);
	});
});
