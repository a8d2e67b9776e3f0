import { expect, test } from "vitest";
import { assemble } from "../../src/checkpoint/assemble.ts";
import { source } from "../../src/core/expr.ts";

const block = (offset: number[], size: number[]) => ({
	box: { offset, size },
	expr: source(offset.join(), "float32", size),
});

test("blocks of a mesh, in any order and of uneven sizes, make the tensor", () => {
	const whole = assemble("w", [
		block([0, 3], [2, 1]),
		block([2, 0], [1, 3]),
		block([0, 0], [2, 3]),
		block([2, 3], [1, 1]),
	]);
	expect(whole).toMatchObject({ kind: "concat", axis: 0, shape: [3, 4] });
});

test("what no straight cut separates is refused", () => {
	const pinwheel = [
		block([0, 0], [1, 2]),
		block([0, 2], [2, 1]),
		block([2, 1], [1, 2]),
		block([1, 0], [2, 1]),
		block([1, 1], [1, 1]),
	];
	expect(() => assemble("w", pinwheel)).toThrow(/cannot be put together/);
});

test.each([
	{ what: "a hole", blocks: [block([0, 0], [1, 2]), block([2, 0], [1, 2])] },
	{ what: "an overlap", blocks: [block([0, 0], [2, 2]), block([1, 0], [2, 2])] },
	{ what: "a block that is too narrow", blocks: [block([0, 0], [1, 2]), block([1, 0], [1, 1])] },
])("$what is refused", ({ blocks }) => {
	expect(() => assemble("w", blocks)).toThrow(/cannot be put together/);
});
