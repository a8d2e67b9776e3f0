import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
	concat,
	type Expr,
	fill,
	permute,
	reshape,
	slice,
	source,
	stack,
} from "../../src/core/expr.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import type { PlanLimits } from "../../src/plan/types.ts";
import { checkPlan } from "../support/check-plan.ts";
import { gridLayout, mapFor, plainFormat, sourceFor } from "../support/plan-fixtures.ts";

const limits = (tileBytes: number, maxTileBytes: number): PlanLimits => ({
	budgetBytes: maxTileBytes * 2 + 1024,
	memoryBytes: maxTileBytes * 2 + 1024,
	writeBufferBytes: 1024,
	tileBytes,
	maxTileBytes,
	requestBytes: 4096,
});

const E = 4;
const D = 24;
const F = 20;

/** Rows of `parts`, which have two dimensions, interleaved group by group, as fused QKV weights are stored. */
function fused(parts: readonly Expr[], groups: number): Expr {
	const grouped = parts.map((part) =>
		reshape(part, [groups, part.shape[0]! / groups, part.shape[1]!]),
	);
	const joined = concat(grouped, 1);
	return reshape(joined, [joined.shape[0]! * joined.shape[1]!, joined.shape[2]!]);
}

/** The shapes of a small MoE layer: copies, RoPE, stacked experts, fused gate and up with transposes, transposed down, fused QKV, a constant. */
function layer(prefix: string): Expr[] {
	const s = (name: string, shape: number[]): Expr => source(`${prefix}.${name}`, "bfloat16", shape);
	const gateUp = s("gate_up", [E, D, 2 * F]);
	const rope = reshape(permute(reshape(s("q", [32, D]), [4, 2, 4, D]), [0, 2, 1, 3]), [32, D]);
	return [
		s("norm", [D]),
		s("o", [D, 32]),
		permute(slice(gateUp, 2, 0, F), [0, 2, 1]),
		permute(slice(gateUp, 2, F, 2 * F), [0, 2, 1]),
		permute(s("down", [E, F, D]), [0, 2, 1]),
		stack(
			Array.from({ length: E }, (_, e) => s(`experts.${e}.w`, [F, D])),
			0,
		),
		fused([rope, s("k", [16, D]), s("v", [16, D])], 4),
		fill([E], 0, "float32"),
	];
}

describe("createPlan", () => {
	test("fetches every used byte once and fills every entry byte once, for any grid, tile size and memory", () => {
		fc.assert(
			fc.property(
				fc.record({
					parts: fc.tuple(
						fc.integer({ min: 1, max: 5 }),
						fc.integer({ min: 1, max: 4 }),
						fc.integer({ min: 1, max: 3 }),
					),
					replicas: fc.integer({ min: 1, max: 3 }),
					perFile: fc.integer({ min: 1, max: 12 }),
					tileBytes: fc.constantFrom(128, 512, 2000, 100_000),
					maxTileBytes: fc.constantFrom(512, 1024, 4096, 100_000),
					dtype: fc.constantFrom("keep" as const, "float32" as const),
				}),
				({ parts, replicas, perFile, tileBytes, maxTileBytes, dtype }) => {
					const exprs = [...layer("a"), ...layer("b")];
					const dropped = [{ name: "vision", reason: "test" }];
					const inputs = {
						source: sourceFor(exprs, perFile, ["vision"]),
						map: mapFor(exprs, { dropped }),
						layout: gridLayout(parts, replicas),
						format: plainFormat,
						dtype,
						limits: limits(Math.min(tileBytes, maxTileBytes), maxTileBytes),
					};
					const plan = createPlan(inputs);
					checkPlan(plan);
					expect(JSON.stringify(createPlan(inputs))).toBe(JSON.stringify(plan));
				},
			),
			{ numRuns: 60, interruptAfterTimeLimit: 20_000 },
		);
	});

	test("fetches the bytes of a tied tensor once for both keys", () => {
		const embed = source("embed", "bfloat16", [64, D]);
		const exprs = [embed, source("x", "bfloat16", [D]), embed];
		const plan = createPlan({
			source: sourceFor(exprs, 5),
			map: mapFor(exprs, { tied: [{ name: "embed", reason: "test" }] }),
			layout: gridLayout([4]),
			format: plainFormat,
			dtype: "keep",
			limits: limits(256, 2048),
		});
		checkPlan(plan);
		expect(plan.totals.fetchBytes).toBe(64 * D * 2 + D * 2);
	});

	test("neighbouring small entries share one request", () => {
		const norm = source("norm", "float32", [64]);
		const plan = createPlan({
			source: sourceFor([norm], 5),
			map: mapFor([norm]),
			layout: gridLayout([64]),
			format: plainFormat,
			dtype: "keep",
			limits: limits(4096, 8192),
		});
		expect(plan.totals).toMatchObject({ requests: 1, entries: 64, files: 64, fetchBytes: 256 });
	});

	test("an unused source tensor is an error that names it", () => {
		const norm = source("norm", "float32", [64]);
		const inputs = {
			source: sourceFor([norm], 5, ["surprise"]),
			map: mapFor([norm]),
			layout: gridLayout([2]),
			format: plainFormat,
			dtype: "keep" as const,
			limits: limits(4096, 8192),
		};
		expect(() => createPlan(inputs)).toThrow(/surprise: it is not used, and no rule drops it/);
	});

	test("a block that cannot be cut small enough names the memory it needs", () => {
		const wide = permute(source("wide", "float32", [2, 5000]), [1, 0]);
		const inputs = {
			source: sourceFor([wide], 5),
			map: mapFor([wide]),
			layout: gridLayout([1]),
			format: plainFormat,
			dtype: "keep" as const,
			limits: limits(2, 2),
		};
		expect(() => createPlan(inputs)).toThrow(/wide cannot be resharded/);
	});
});
