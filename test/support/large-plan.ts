import * as fc from "fast-check";
import { boxNumel } from "../../src/core/box.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import { cast, type Expr, permute, source, stack } from "../../src/core/expr.ts";
import type { EntryFormat } from "../../src/core/ports.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import type { Plan } from "../../src/plan/types.ts";
import { gridLayout, mapFor, sourceFor } from "./plan-fixtures.ts";

const MiB = 2 ** 20;

/**
 * Tensors of megabytes: rows and columns whose lengths are whole pages and such that are not, a transpose, quantised ones, and small
 * ones between.
 */
function largeExprs(odd: number): Expr[] {
	const s = (name: string, shape: readonly number[]): Expr => source(name, "bfloat16", shape);
	return [
		s("a", [1024, 2048]),
		s("b.norm", [2048 + odd]),
		s("c", [1500 + odd, 1024 + 32 * odd]),
		permute(s("d", [768, 1024 + odd]), [1, 0]),
		stack([s("e.0", [700, 1024]), s("e.1", [700, 1024])], 0),
		s("f.scalar", []),
		source("g", "uint8", [2 ** 21 + odd]),
		dequantFp8Block(
			source("h", "float8_e4m3fn", [900 + odd, 1024]),
			source("h.scales", "float32", [8, 8]),
			[128, 128],
		),
		cast(
			permute(
				dequantMxfp4(
					source("i.blocks", "uint8", [600, 32, 16]),
					source("i.scales", "uint8", [600, 32]),
				),
				[1, 0],
			),
			"bfloat16",
		),
	];
}

/** What a plan of large tensors is made for. */
export interface LargeJob {
	/** Blocks per axis. */
	readonly parts: readonly number[];
	/** 0: rows and columns are whole pages where they can be. */
	readonly odd: number;
	/** The budget, bytes. */
	readonly memory: number;
}

/** A plan whose entries are mostly larger than a megabyte. */
export function largePlan(chosen: LargeJob, format: EntryFormat): Plan {
	const exprs = largeExprs(chosen.odd);
	return createPlan({
		source: sourceFor(exprs, 4),
		map: mapFor(exprs),
		layout: gridLayout(chosen.parts),
		format,
		dtype: "keep",
		limits: limitsFor(chosen.memory),
	});
}

/** Layouts, sizes and budgets. */
export const largeJobs: fc.Arbitrary<LargeJob> = fc.record({
	parts: fc.constantFrom<readonly number[]>([1], [2], [3], [1, 2], [2, 3]),
	odd: fc.constantFrom(0, 1, 3),
	memory: fc.integer({ min: 16 * MiB, max: 96 * MiB }),
});

/** Data bytes of the entries that begin on a page. */
export function largeBytes(plan: Plan): number {
	const bytes = plan.entries.map(({ box, dtype }) => boxNumel(box) * itemBytes(dtype));
	return bytes.filter((length) => length >= MiB).reduce((sum, length) => sum + length, 0);
}
