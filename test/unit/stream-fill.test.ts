import { describe, expect, test } from "vitest";
import { encodeElement } from "../../src/stream/cpu/fill.ts";

describe("encodeElement", () => {
	// What torch 2.13 gives for torch.full((1,), value, dtype=dtype).view(torch.uint8).
	test.each([
		["float32", 1.5, "0000c03f"],
		["float32", 0.1, "cdcccc3d"],
		["float64", 0.1, "9a9999999999b93f"],
		["float16", 0.1, "662e"],
		["float16", 65504, "ff7b"],
		["bfloat16", 0.1, "cd3d"],
		["bfloat16", -0, "0080"],
		["complex64", 2, "0000004000000000"],
		["int8", -128, "80"],
		["uint8", 255, "ff"],
		["int16", -2, "feff"],
		["uint16", 65535, "ffff"],
		["int32", -7, "f9ffffff"],
		["uint32", 4294967295, "ffffffff"],
		["int64", -1, "ffffffffffffffff"],
		["uint64", 2 ** 63, "0000000000000080"],
		["bool", 1, "01"],
		["float8_e4m3fn", 0, "00"],
	] as const)("%s %d is %s", (dtype, value, hex) => {
		expect(Buffer.from(encodeElement(value, dtype)).toString("hex")).toBe(hex);
	});

	test.each([
		["int8", 128],
		["uint8", -1],
		["int32", 1.5],
		["bool", 2],
		["int64", 2 ** 63],
		["int16", Number.NaN],
		["float8_e5m2", 1],
		["float8_e8m0fnu", 0],
	] as const)("%s cannot hold %d", (dtype, value) => {
		expect(() => encodeElement(value, dtype)).toThrow(
			expect.objectContaining({ code: "RECIPE_INVALID" }),
		);
	});
});
