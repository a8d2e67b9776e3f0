import { describe, expect, test } from "vitest";
import { wholeBox } from "../../src/core/box.ts";
import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import {
	cast,
	concat,
	type Expr,
	fill,
	permute,
	reshape,
	slice,
	source,
} from "../../src/core/expr.ts";
import { numel } from "../../src/core/shape.ts";
import { heavyBytesOf } from "../../src/plan/heavy-bytes.ts";
import type { Plan } from "../../src/plan/types.ts";
import { measureCpuRates } from "../../src/stream/cpu/measure-rates.ts";

const NONE = { fp8: 0, fp4: 0, fp4Transposed: 0, cast: 0, transpose: 0 };
const W = source("w", "bfloat16", [1024, 2048]);
const FP8 = dequantFp8Block(
	source("q", "float8_e4m3fn", [1024, 2048]),
	source("s", "float32", [8, 16]),
	[128, 128],
);
const FP4 = dequantMxfp4(source("b", "uint8", [512, 64, 16]), source("e", "uint8", [512, 64]));

/** A plan of one tensor, cut along its columns into `parts` entries. */
function planOf(expr: Expr, parts = 1): Pick<Plan, "tensors" | "entries"> {
	const columns = (expr.shape.at(-1) ?? 1) / parts;
	const whole = wholeBox(expr.shape);
	const last = expr.shape.length - 1;
	const entries = Array.from({ length: parts }, (_, part) => ({
		fqn: "x",
		dtype: expr.dtype,
		file: "f",
		offset: 0,
		length: 0,
		tensor: 0,
		share: 0,
		box: {
			offset: whole.offset.map((start, d) => (d === last ? part * columns : start)),
			size: whole.size.map((size, d) => (d === last ? columns : size)),
		},
	}));
	const { shape, dtype } = expr;
	return { tensors: [{ fqn: "x", dtype, shape, expr, firstEntry: 0, endEntry: parts }], entries };
}

describe("heavyBytesOf", () => {
	test.each<[string, Expr, number, Partial<typeof NONE>]>([
		["a copy", W, 1, {}],
		["rows", slice(W, 0, 100, 300), 1, {}],
		["columns of 64 bytes", W, 64, {}],
		["columns of 32 bytes", W, 128, { transpose: 2 * 1024 * 2048 }],
		["a constant", fill([1024], 0, "float32"), 1, {}],
		["a transpose", permute(W, [1, 0]), 4, { transpose: 2 * 1024 * 2048 }],
		[
			"heads that change places",
			reshape(permute(reshape(W, [8, 128, 2048]), [1, 0, 2]), [1024, 2048]),
			1,
			{},
		],
		["a cast", cast(W, "float32"), 2, { cast: 2 * 1024 * 2048 }],
		["FP8 becomes bfloat16", cast(FP8, "bfloat16"), 4, { fp8: 1024 * 2048 }],
		["MXFP4 becomes bfloat16", cast(FP4, "bfloat16"), 1, { fp4: (512 * 2048) / 2 }],
		[
			"MXFP4 becomes bfloat16 and its rows columns",
			cast(permute(FP4, [1, 0]), "bfloat16"),
			1,
			{ fp4Transposed: (512 * 2048) / 2 },
		],
	])("%s", (_, expr, parts, expected) => {
		expect(numel(expr.shape)).toBeGreaterThan(0);
		expect(heavyBytesOf(planOf(expr, parts))).toEqual({ ...NONE, ...expected });
	});

	test("both halves of a concat are seen where the sample reaches them", () => {
		const half = slice(W, 0, 0, 128);
		const turned = permute(source("v", "bfloat16", [2048, 128]), [1, 0]);
		const expr = concat([half, turned], 0);
		expect(heavyBytesOf(planOf(expr))).toEqual({ ...NONE, transpose: 2 * 128 * 2048 });
	});
});

test("the rates of this machine are measured, each in a few milliseconds", async () => {
	const rates = await measureCpuRates();
	for (const rate of Object.values(rates)) {
		expect(rate).toBeGreaterThan(1e6);
		expect(rate).toBeLessThan(1e12);
	}
});
