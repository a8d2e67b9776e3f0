import { describe, expect, test } from "vitest";
import { type CastDtype, converter } from "../../src/stream/cpu/float-bits.ts";
import { float32Patterns } from "../support/float32-patterns.ts";
import { patternOf, valueOf } from "../support/slow-floats.ts";

const hex = (bits: number): string => bits.toString(16);

function* patternsOf(dtype: CastDtype): Generator<number> {
	if (dtype === "float32") yield* float32Patterns();
	else for (let bits = 0; bits < 0x10000; bits++) yield bits;
}

const DTYPES: readonly CastDtype[] = ["float32", "float16", "bfloat16"];

describe("converter", () => {
	test.each(
		DTYPES.flatMap((from) => DTYPES.filter((to) => to !== from).map((to) => [from, to] as const)),
	)("%s to %s rounds as exact arithmetic does", (from, to) => {
		const convert = converter(from, to);
		const wrong: string[] = [];
		let count = 0;
		for (const bits of patternsOf(from)) {
			const expected = patternOf(valueOf(bits, from), to);
			const actual = convert(bits);
			if (actual !== expected) wrong.push(`${hex(bits)}: ${hex(actual)}, not ${hex(expected)}`);
			count++;
		}
		expect(wrong.slice(0, 10)).toEqual([]);
		expect(count).toBeGreaterThan(60_000);
	});

	test.each([
		["float32", "bfloat16", 0xffc00001, 0x7fc0],
		["float32", "float16", 0x7f800001, 0x7e00],
		["float16", "float32", 0xfe01, 0x7fc00000],
		["bfloat16", "float32", 0xff81, 0x7fc00000],
		["bfloat16", "float16", 0x7fff, 0x7e00],
		["float16", "bfloat16", 0xfc01, 0x7fc0],
	] as const)("%s to %s: a NaN of any sign and payload is canonical", (from, to, bits, nan) => {
		expect(hex(converter(from, to)(bits))).toBe(hex(nan));
	});

	test.each([
		["float32", "float16", 0x80000000, 0x8000],
		["float32", "bfloat16", 0x80000000, 0x8000],
		["float16", "float32", 0x8000, 0x80000000],
		["float32", "float16", 0x477fefff, 0x7bff],
		["float32", "float16", 0x477ff000, 0x7c00],
		["float32", "bfloat16", 0x7f7fffff, 0x7f80],
		["float32", "float16", 0x33000000, 0],
		["float32", "float16", 0x33000001, 1],
	] as const)("%s to %s: %i becomes %i", (from, to, bits, expected) => {
		expect(hex(converter(from, to)(bits))).toBe(hex(expected));
	});
});
