import { describe, expect, test } from "vitest";
import { concat, type Expr, fill, permute, reshape, slice, source } from "../../src/core/expr.ts";
import type { Layout } from "../../src/core/layout.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import { balanceOf, shareFactsOf } from "../../src/plan/share-facts.ts";
import type { Plan } from "../../src/plan/types.ts";
import { gridLayout, mapFor, plainFormat, sourceFor } from "../support/plan-fixtures.ts";

const COLUMNS = 64;

function planOf(exprs: readonly Expr[], shares: number, layout: Layout = gridLayout([1])): Plan {
	return createPlan({
		source: sourceFor(exprs, 100),
		map: mapFor(exprs),
		layout,
		format: plainFormat,
		dtype: "keep",
		limits: {
			budgetBytes: 2 ** 22,
			memoryBytes: 2 ** 22,
			writeBufferBytes: 2 ** 16,
			tileBytes: 2 ** 16,
			maxTileBytes: 2 ** 20,
			requestBytes: 2 ** 16,
		},
		shares,
	});
}

const matrix = (name: string, rows: number, columns = COLUMNS): Expr =>
	source(name, "bfloat16", [rows, columns]);

/** Offset and size of the entries of one tensor along an axis. */
function spansOf(plan: Plan, tensor: number, axis: number): (readonly [number, number])[] {
	const { firstEntry, endEntry } = plan.tensors[tensor]!;
	return plan.entries
		.slice(firstEntry, endEntry)
		.map(({ box }) => [box.offset[axis]!, box.size[axis]!] as const);
}

function unevenness(plan: Plan): number {
	const { maxBytes, meanBytes } = balanceOf(shareFactsOf(plan));
	return maxBytes / meanBytes;
}

describe("a plan in shares", () => {
	test("cuts nothing where whole groups are even", () => {
		const exprs = Array.from({ length: 8 }, (_, i) => matrix(`w${i}`, 100));
		for (const count of [2, 4, 8]) {
			const plan = planOf(exprs, count);
			expect(plan.totals.entriesCutForShares).toBe(0);
			expect(unevenness(plan)).toBe(1);
			expect(plan.entries.map(({ file }) => file)).toEqual(
				exprs.map((_, i) => `__0_${Math.floor((i * count) / 8)}.distcp`),
			);
		}
	});

	test("cuts one tensor into as many entries as there are shares, in the order of its rows", () => {
		const plan = planOf([matrix("w", 1000)], 8);
		expect(plan.files.map(({ name }) => name)).toEqual(
			Array.from({ length: 8 }, (_, share) => `__0_${share}.distcp`),
		);
		expect(spansOf(plan, 0, 0)).toEqual(
			Array.from({ length: 8 }, (_, share) => [share * 125, 125]),
		);
		expect(plan.entries.map(({ share }) => share)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
	});

	test("cuts where the seams are and nowhere else", () => {
		const exprs = [matrix("a", 300), matrix("b", 300), matrix("c", 300), matrix("d", 300)];
		const plan = planOf(exprs, 3);
		// Of 1,200 rows each share has 400: the seams are in b and in c.
		expect(plan.totals.entriesCutForShares).toBe(2);
		expect(spansOf(plan, 0, 0)).toHaveLength(1);
		expect(spansOf(plan, 1, 0)[0]![1]).toBeCloseTo(100, -1);
		expect(spansOf(plan, 2, 0)[0]![1]).toBeCloseTo(200, -1);
		expect(spansOf(plan, 3, 0)).toHaveLength(1);
	});

	test("columns that a row of the source goes to are cut at the same row", () => {
		const plan = planOf([matrix("w", 1000)], 5, gridLayout([1, 4]));
		expect(plan.entries).toHaveLength(20);
		for (const entry of plan.entries) {
			const sameRows = plan.entries.filter(({ box }) => box.offset[0] === entry.box.offset[0]);
			expect(new Set(sameRows.map(({ share }) => share)).size).toBe(1);
		}
		expect(plan.totals.fetchBytes).toBe(1000 * COLUMNS * 2);
		expect(unevenness(plan)).toBeLessThan(1.1);
	});

	test("a transposed tensor is cut along the columns that are the source's rows", () => {
		const plan = planOf([permute(matrix("w", 1000), [1, 0])], 4);
		expect(spansOf(plan, 0, 1)).toEqual([
			[0, 250],
			[250, 250],
			[500, 250],
			[750, 250],
		]);
		expect(spansOf(plan, 0, 0).every(([, size]) => size === COLUMNS)).toBe(true);
	});

	test("rows that are permuted within heads are cut between heads", () => {
		const heads = reshape(matrix("q", 480), [12, 2, 20, COLUMNS]);
		const rope = reshape(permute(heads, [0, 2, 1, 3]), [480, COLUMNS]);
		const plan = planOf([rope], 5);
		expect(spansOf(plan, 0, 0).every(([offset]) => offset % 40 === 0)).toBe(true);
		expect(plan.totals.fetchBytes).toBe(480 * COLUMNS * 2);
		expect(shareFactsOf(plan).every(({ entries }) => entries > 0)).toBe(true);
	});

	test("halves of one source tensor are cut at the same rows", () => {
		const fused = source("gate_up", "bfloat16", [600, 2 * COLUMNS]);
		const plan = planOf([slice(fused, 1, 0, COLUMNS), slice(fused, 1, COLUMNS, 2 * COLUMNS)], 3);
		expect(spansOf(plan, 0, 0)).toEqual([
			[0, 200],
			[200, 200],
			[400, 200],
		]);
		expect(spansOf(plan, 1, 0)).toEqual(spansOf(plan, 0, 0));
	});

	test("queries, keys and values of one source tensor are cut between its groups", () => {
		const [groups, size] = [30, 10];
		const fused = reshape(matrix("qkv", groups * size), [groups, size, COLUMNS]);
		const rows = (start: number, end: number): Expr =>
			reshape(slice(fused, 1, start, end), [groups * (end - start), COLUMNS]);
		const plan = planOf([rows(0, 6), rows(6, 8), rows(8, 10)], 3);
		expect(spansOf(plan, 0, 0)).toEqual([
			[0, 60],
			[60, 60],
			[120, 60],
		]);
		expect(spansOf(plan, 1, 0)).toEqual([
			[0, 20],
			[20, 20],
			[40, 20],
		]);
	});

	test("a tensor made of several is cut in all of them", () => {
		const plan = planOf([concat([matrix("a", 100), matrix("b", 300)], 0)], 4);
		expect(spansOf(plan, 0, 0)).toEqual([
			[0, 100],
			[100, 100],
			[200, 100],
			[300, 100],
		]);
	});

	test("more shares than there is anything to divide: the others are empty", () => {
		const plan = planOf([source("scalar", "float32", []), fill([3], 0, "float32")], 1000);
		expect(plan.totals.files).toBeLessThanOrEqual(2);
		expect(balanceOf(shareFactsOf(plan)).emptyShares).toBeGreaterThanOrEqual(998);
	});

	test("blocks that are mostly container are not cut", () => {
		// 74 bytes of prefix and suffix beside 64 of data.
		expect(planOf([matrix("w", 4, 8)], 4).entries).toHaveLength(1);
		expect(planOf([matrix("w", 200, 8)], 2).entries).toHaveLength(2);
	});
});
