import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dequantFp8Block } from "../../src/core/dequant.ts";
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
import { shareOf } from "../../src/plan/share.ts";
import type { Plan } from "../../src/plan/types.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runPlan } from "../../src/stream/run-plan.ts";
import { checkPlan } from "../support/check-plan.ts";
import { evaluateExpr, takeBox } from "../support/naive-expr.ts";
import {
	fp8,
	gridLayout,
	mapFor,
	mxfp4,
	plainFormat,
	sourceFor,
} from "../support/plan-fixtures.ts";
import { memorySink, memorySource, randomFiles } from "../support/stream-fakes.ts";

const backend = createCpuBackend();

const E = 4;

function blocked(name: string, shape: readonly number[], block: readonly number[]): Expr {
	const blocks = shape.map((size, d) => Math.ceil(size / block[d]!));
	const scales = source(`${name}_scale_inv`, "float32", blocks);
	return dequantFp8Block(source(name, "float8_e4m3fn", shape), scales, block);
}

/**
 * The shapes of small quantised layers: blocks that do not divide the rows, rows of one source in two tensors of which one begins
 * inside a block, experts that are stacked or stored as one tensor, fused or interleaved or transposed.
 */
function layer(prefix: string): Expr[] {
	const kv = fp8(`${prefix}.kv`, [22, 12]);
	const gateUp = mxfp4(`${prefix}.gate_up`, [E, 12], 2);
	const pairs = reshape(gateUp, [E, 6, 2, 64]);
	const interleaved = (index: number): Expr =>
		reshape(slice(pairs, 2, index, index + 1), [E, 6, 64]);
	const heads = reshape(fp8(`${prefix}.q`, [24, 20]), [3, 2, 4, 20]);
	return [
		blocked(`${prefix}.o`, [25, 30], [4, 6]),
		blocked(`${prefix}.whole`, [3, 10, 9], [1, 4, 4]),
		slice(kv, 0, 0, 10),
		slice(kv, 0, 10, 22),
		reshape(permute(heads, [0, 2, 1, 3]), [24, 20]),
		concat(
			[blocked(`${prefix}.w1`, [20, 12], [8, 4]), blocked(`${prefix}.w3`, [20, 12], [8, 4])],
			0,
		),
		stack(
			Array.from({ length: E }, (_, e) => fp8(`${prefix}.experts.${e}`, [20, 24])),
			0,
		),
		interleaved(0),
		interleaved(1),
		permute(mxfp4(`${prefix}.down`, [E, 10], 1), [0, 2, 1]),
		source(`${prefix}.norm`, "bfloat16", [24]),
		fill([E], 0, "float32"),
	];
}

const settings = fc.record({
	parts: fc.tuple(
		fc.integer({ min: 1, max: 7 }),
		fc.integer({ min: 1, max: 4 }),
		fc.integer({ min: 1, max: 3 }),
	),
	shares: fc.integer({ min: 1, max: 4 }),
	perFile: fc.integer({ min: 1, max: 30 }),
	tileBytes: fc.constantFrom(128, 512, 2000, 100_000),
	maxTileBytes: fc.constantFrom(300, 1024, 4096, 100_000),
	dtype: fc.constantFrom("keep" as const, "float32" as const, "float16" as const),
});

/** What a plan is made with. */
interface Settings {
	readonly parts: readonly number[];
	readonly shares: number;
	readonly perFile: number;
	readonly tileBytes: number;
	readonly maxTileBytes: number;
	readonly dtype: "keep" | "float32" | "float16";
}

function planOf(exprs: readonly Expr[], chosen: Settings, dropped: readonly string[] = []): Plan {
	const { parts, shares, perFile, dtype, maxTileBytes } = chosen;
	return createPlan({
		source: sourceFor(exprs, perFile, dropped),
		map: mapFor(exprs, { dropped: dropped.map((name) => ({ name, reason: "test" })) }),
		layout: gridLayout(parts),
		format: plainFormat,
		dtype,
		shares,
		limits: {
			budgetBytes: maxTileBytes * 2 + 1024,
			memoryBytes: maxTileBytes * 2 + 1024,
			writeBufferBytes: 1024,
			tileBytes: Math.min(chosen.tileBytes, maxTileBytes),
			maxTileBytes,
			requestBytes: 700,
		},
	});
}

/** Runs every share, and checks what was read and what was written. */
async function checkRun(plan: Plan): Promise<void> {
	const files = randomFiles(plan.source);
	const tensors = new Map(plan.source.tensors.map((tensor) => [tensor.name, tensor]));
	const values = plan.tensors.map(({ expr }) =>
		evaluateExpr(expr, (name) => {
			const { file, begin, end } = tensors.get(name)!;
			return files.get(file)!.subarray(begin, end);
		}),
	);
	const bytes = memorySource(files);
	for (let index = 0; index < plan.shares; index++) {
		const share = shareOf(plan, index);
		const sink = memorySink(share.plan);
		const { totals, limits } = share.plan;
		const summary = await runPlan({ plan: share.plan, source: bytes, backend, sink });
		expect(summary).toMatchObject({ fetchedBytes: totals.fetchBytes, requests: totals.requests });
		expect(summary.peakStagingBytes).toBeLessThanOrEqual(
			limits.memoryBytes - limits.writeBufferBytes,
		);
		for (const [place, entry] of share.plan.entries.entries()) {
			const tensor = plan.entries[share.entries[place]!]!.tensor;
			const { shape } = plan.tensors[tensor]!;
			const expected = takeBox(values[tensor]!, shape, entry.dtype, entry.box);
			expect(Buffer.from(expected).equals(sink.data[place]!), entry.fqn).toBe(true);
		}
	}
	expect(bytes.reads).toHaveLength(plan.totals.requests);
	const read = bytes.reads.reduce((sum, { start, end }) => sum + end - start, 0);
	expect(read).toBe(plan.totals.fetchBytes);
}

describe("a plan of quantised weights", () => {
	test("fetches every byte of weights and scales once and makes the right bytes, for any grid, shares, tile size and memory", async () => {
		await fc.assert(
			fc.asyncProperty(settings, async (chosen) => {
				const plan = planOf([...layer("a"), ...layer("b")], chosen);
				checkPlan(plan);
				await checkRun(plan);
			}),
			{ numRuns: 40, timeout: 5_000, interruptAfterTimeLimit: 20_000 },
		);
	});

	const roomy: Settings = {
		parts: [1, 1, 1],
		shares: 1,
		perFile: 30,
		tileBytes: 4096,
		maxTileBytes: 8192,
		dtype: "keep",
	};

	test("where ranks share scales of rows, tiles end between blocks and no entry is cut", () => {
		for (const ranks of [6, 24, 256]) {
			const plan = planOf([fp8("w", [1000, 64])], { ...roomy, parts: [ranks, 1, 1] });
			checkPlan(plan);
			// 8 rows have the same scales: 42, 5 and 1 to a rank share some with the next.
			expect(plan.totals).toMatchObject({ entriesCut: 0, fetchBytes: 64_000 + 125 * 8 * 4 });
			expect(plan.totals.largestTileBytes).toBeLessThanOrEqual(roomy.tileBytes);
			expect(plan.tiles.length).toBeLessThanOrEqual(18);
		}
	});

	test("neighbouring small experts share a tile, wherever a file has their scales", () => {
		const names = Array.from({ length: E }, (_, e) => `experts.${e}`);
		const beside = stack(
			names.map((name) => fp8(name, [16, 24])),
			0,
		);
		const before = stack(
			names.map((name) => {
				const scales = source(`a.${name}`, "float32", [2, 3]);
				return dequantFp8Block(source(name, "float8_e4m3fn", [16, 24]), scales, [8, 8]);
			}),
			0,
		);
		// `b` lies between the scales and the weights, and is not fetched.
		for (const [expr, dropped, ranges] of [
			[beside, [], 1],
			[before, ["b"], 2],
		] as const) {
			const plan = planOf([expr], { ...roomy, parts: [E, 1, 1] }, dropped);
			checkPlan(plan);
			expect(plan.tiles).toHaveLength(1);
			expect(plan.tiles[0]!.ranges).toHaveLength(ranges);
		}
	});
});
