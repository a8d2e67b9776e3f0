import { expect, test } from "vitest";
import { selectBlock, splitTensorText } from "../../src/values/selection.ts";
import { failure } from "../support/failure.ts";

test.each([
	[[4, 6], undefined, [0, 0], [4, 6], [4, 6]],
	[[4, 6], "1", [1, 0], [1, 6], [6]],
	[[4, 6], "-1, 2", [3, 2], [1, 1], []],
	[[4, 6], "1:3, -2:", [1, 4], [2, 2], [2, 2]],
	[[4, 6], "..., :3", [0, 0], [4, 3], [4, 3]],
	[[4, 6], "2, ..., 5", [2, 5], [1, 1], []],
	[[4, 6], "...", [0, 0], [4, 6], [4, 6]],
	[[4, 6], "9:, -9:2", [4, 0], [0, 2], [0, 2]],
	[[4, 6], "3:1", [3, 0], [0, 6], [0, 6]],
	[[4, 6], " 0 : 2 ,", [0, 0], [2, 6], [2, 6]],
	[[4, 6], "::1", [0, 0], [4, 6], [4, 6]],
	[[], "...", [], [], []],
])("%j[%s]", (shape, index, offset, size, result) => {
	expect(selectBlock(shape, index)).toEqual({ box: { offset, size }, shape: result });
});

test.each([
	["", "selects nothing"],
	["4", "index 4 of axis 0, which has 4"],
	["-5", "index -5 of axis 0"],
	["0, 0, 0", "an index of 3 axes, and the tensor is [4, 6]"],
	["..., ...", "at most one ..."],
	["::2", "the step 2 in [::2] is not supported"],
	["::-1", "the step -1"],
	["a", '"a" in [a] is no index'],
	["1:2:1:1", "is no index"],
	["1.5", "is no index"],
	["1,,2", '"" in [1,,2] is no index'],
	["None", "is no index"],
])("[%s] is refused", async (index, message) => {
	const error = await failure((async () => selectBlock([4, 6], index))());
	expect(error.code).toBe("OPTIONS_INVALID");
	expect(error.message).toContain(message);
});

test("names may have brackets of their own", () => {
	const names = new Set(["a", "b[0]"]);
	const split = (text: string): unknown => splitTensorText(text, (name) => names.has(name));
	expect(split("a")).toEqual({ name: "a", index: undefined });
	expect(split("b[0]")).toEqual({ name: "b[0]", index: undefined });
	expect(split("a[0, :]")).toEqual({ name: "a", index: "0, :" });
	expect(split("missing")).toEqual({ name: "missing", index: undefined });
});
