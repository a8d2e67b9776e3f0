import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { concat, type Expr, fill, reshape, slice, sourcesOf } from "../../src/core/expr.ts";
import type { Box } from "../../src/core/box.ts";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { openCheckpointWriter } from "../support/checkpoint-writer.ts";
import { readEntryData } from "../../src/dcp/entry-reader.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { checkpointIndexOf } from "../../src/plan/checkpoint-index.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import type { Plan } from "../../src/plan/types.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runPlan } from "../../src/stream/run-plan.ts";
import { arbitraryExpr } from "../support/arbitrary-expr.ts";
import { evaluateExpr } from "../support/naive-expr.ts";
import { gridLayout, mapFor, sourceFor } from "../support/plan-fixtures.ts";
import { memorySource, randomFiles } from "../support/stream-fakes.ts";

const settings = fc.record({
	parts: fc.tuple(
		fc.integer({ min: 1, max: 5 }),
		fc.integer({ min: 1, max: 3 }),
		fc.integer({ min: 1, max: 3 }),
	),
	replicas: fc.integer({ min: 1, max: 2 }),
	perFile: fc.integer({ min: 1, max: 4 }),
	tileBytes: fc.constantFrom(64, 256, 100_000),
	maxTileBytes: fc.constantFrom(400, 100_000),
	requestBytes: fc.constantFrom(100, 100_000),
	writeBufferBytes: fc.constantFrom(64, 1024),
	dtype: fc.constantFrom("keep" as const, "bfloat16" as const, "float16" as const),
});

type Settings = typeof settings extends fc.Arbitrary<infer T> ? T : never;

/** The expression, the same elements flat behind a constant, and every source as it is, so that each is used. */
function exprsAround(expr: Expr): Expr[] {
	const flat = reshape(expr, [expr.shape.reduce((a, b) => a * b, 1)]);
	return [expr, concat([fill([3], 1, expr.dtype), flat], 0), ...sourcesOf(expr)];
}

/** `undefined` where the expression scatters its elements so that no cut fits the memory. */
function planOf(expr: Expr, chosen: Settings): Plan | undefined {
	try {
		return planWithin(expr, chosen);
	} catch (error) {
		if (isHfStreamDcpError(error, "BUDGET_EXCEEDED")) return undefined;
		throw error;
	}
}

function planWithin(expr: Expr, chosen: Settings): Plan {
	const exprs = exprsAround(expr);
	const { maxTileBytes, requestBytes, writeBufferBytes } = chosen;
	const tileBytes = Math.min(chosen.tileBytes, maxTileBytes);
	return createPlan({
		source: sourceFor(exprs, chosen.perFile),
		map: mapFor(exprs, { tied: sourcesOf(expr).map(({ name }) => ({ name, reason: "test" })) }),
		layout: gridLayout(chosen.parts, chosen.replicas),
		format: torchSaveFormat,
		dtype: chosen.dtype,
		limits: {
			budgetBytes: 2 * maxTileBytes + writeBufferBytes,
			memoryBytes: 2 * maxTileBytes + writeBufferBytes,
			tileBytes,
			maxTileBytes,
			requestBytes,
			writeBufferBytes,
		},
	});
}

function boxOf(expr: Expr, { offset, size }: Box): Expr {
	return offset.reduce<Expr>(
		(of, start, axis) => slice(of, axis, start, start + size[axis]!),
		expr,
	);
}

/** Converts into `directory`, and reads every chunk back. */
async function expectRoundTrip(
	directory: string,
	plan: Plan,
	files: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
	const { entries } = plan;
	await using writer = await openCheckpointWriter({
		directory,
		planId: "plan",
		entries,
		files: plan.files,
		overwrite: true,
		maxOpenFiles: 2,
	});
	await using backend = createCpuBackend();
	await runPlan({ plan, source: memorySource(files), backend, sink: writer });
	await writer.commit(checkpointIndexOf(plan));
	const read = await readCheckpoint(directory);
	expect(read.problems).toEqual([]);
	const tensors = new Map(plan.source.tensors.map((tensor) => [tensor.name, tensor]));
	const readSource = (name: string): Uint8Array => {
		const { file, begin, end } = tensors.get(name)!;
		return files.get(file)!.subarray(begin, end);
	};
	for (const [index, { entries: chunks }] of read.tensors.entries()) {
		for (const entry of chunks) {
			const { data } = await readEntryData(directory, entry, { verify: true });
			const expected = evaluateExpr(boxOf(plan.tensors[index]!.expr, entry.box), readSource);
			expect(Buffer.from(expected).equals(data), entry.fqn).toBe(true);
		}
	}
}

test("a checkpoint holds what the expressions say, element by element, for any layout, tiles and dtype", async () => {
	const root = await mkdtemp(join(tmpdir(), "stream-checkpoint-"));
	try {
		await fc.assert(
			fc.asyncProperty(arbitraryExpr(), settings, async (expr, chosen) => {
				const plan = planOf(expr, chosen);
				fc.pre(plan !== undefined);
				await expectRoundTrip(join(root, "step-0"), plan, randomFiles(plan.source));
			}),
			{ numRuns: 25, interruptAfterTimeLimit: 20_000 },
		);
	} finally {
		await rm(root, { recursive: true });
	}
});
