import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { concat, type Expr, fill, reshape, source, sourcesOf } from "../../src/core/expr.ts";
import type { WriteCounters } from "../../src/core/ports.ts";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { openCheckpointWriter } from "../support/checkpoint-writer.ts";
import { readEntryData } from "../../src/dcp/entry-reader.ts";
import { probeWriteMode, type WriteMode } from "../../src/dcp/write-mode.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { checkpointIndexOf } from "../../src/plan/checkpoint-index.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import type { Plan } from "../../src/plan/types.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { type RunSummary, runPlan } from "../../src/stream/run-plan.ts";
import { arbitraryExpr, leavesOf } from "../support/arbitrary-expr.ts";
import { evaluateExpr, takeBox } from "../support/naive-expr.ts";
import { largeBytes, largeJobs, largePlan } from "../support/large-plan.ts";
import { gridLayout, mapFor, sourceFor } from "../support/plan-fixtures.ts";
import { memorySource, randomFiles } from "../support/stream-fakes.ts";
import { createLastRun } from "../support/last-run.ts";

const MiB = 2 ** 20;

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

/** The expression, the same elements flat behind a constant, and all that it reads as it is, so that each element is used. */
function exprsAround(expr: Expr): Expr[] {
	const flat = reshape(expr, [expr.shape.reduce((a, b) => a * b, 1)]);
	return [expr, concat([fill([3], 1, expr.dtype), flat], 0), ...leavesOf(expr)];
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

/** What a round trip did. */
interface RoundTrip {
	readonly run: RunSummary;
	readonly writes: WriteCounters;
}

const lastRun = createLastRun();

/** Converts into `directory`, and reads every chunk back. */
function expectRoundTrip(...inputs: Parameters<typeof roundTrip>): Promise<RoundTrip> {
	return lastRun.track(roundTrip(...inputs));
}

async function roundTrip(
	directory: string,
	plan: Plan,
	files: ReadonlyMap<string, Uint8Array>,
	writeMode: WriteMode,
): Promise<RoundTrip> {
	const { entries } = plan;
	await using writer = await openCheckpointWriter({
		directory,
		planId: "plan",
		entries,
		files: plan.files,
		overwrite: true,
		maxOpenFiles: 2,
		writeMode,
	});
	await using backend = createCpuBackend();
	const run = await runPlan({ plan, source: memorySource(files), backend, sink: writer });
	await writer.commit(checkpointIndexOf(plan));
	const read = await readCheckpoint(directory);
	expect(read.problems).toEqual([]);
	const tensors = new Map(plan.source.tensors.map((tensor) => [tensor.name, tensor]));
	const readSource = (name: string): Uint8Array => {
		const { file, begin, end } = tensors.get(name)!;
		return files.get(file)!.subarray(begin, end);
	};
	for (const [index, { entries: chunks }] of read.tensors.entries()) {
		const { expr, shape, dtype } = plan.tensors[index]!;
		const value = evaluateExpr(expr, readSource);
		for (const entry of chunks) {
			const { data } = await readEntryData(directory, entry, { verify: true });
			const expected = takeBox(value, shape, dtype, entry.box);
			expect(Buffer.from(expected).equals(data), entry.fqn).toBe(true);
		}
	}
	return { run, writes: writer.writes };
}

const isDirect = (await probeWriteMode(tmpdir())) === "direct";

/** Both modes, or the one that the temporary folder allows. */
const MODES: readonly WriteMode[] = isDirect ? ["buffered", "direct"] : ["buffered"];

async function inTemporaryFolder(test_: (root: string) => Promise<void>): Promise<void> {
	const root = await mkdtemp(join(tmpdir(), "stream-checkpoint-"));
	try {
		await test_(root);
	} finally {
		await lastRun.ended();
		await rm(root, { recursive: true });
	}
}

test("a checkpoint holds what the expressions say, element by element, for any layout, tiles and dtype", async () => {
	await inTemporaryFolder(async (root) => {
		const mode = fc.constantFrom(...MODES);
		await fc.assert(
			fc.asyncProperty(arbitraryExpr(), settings, mode, async (expr, chosen, writeMode) => {
				const plan = planOf(expr, chosen);
				fc.pre(plan !== undefined);
				await expectRoundTrip(join(root, "step-0"), plan, randomFiles(plan.source), writeMode);
			}),
			{ numRuns: 25, interruptAfterTimeLimit: 20_000 },
		);
	});
});

describe.each(["buffered", "direct"] as const)("entries of megabytes, written %s", (writeMode) => {
	test.skipIf(writeMode === "direct" && !isDirect)(
		"hold what the expressions say, within random memory budgets (direct needs O_DIRECT in the temporary folder)",
		async () => {
			await inTemporaryFolder(async (root) => {
				await fc.assert(
					fc.asyncProperty(largeJobs, async (chosen) => {
						const plan = largePlan(chosen, torchSaveFormat);
						const directory = join(root, "step-0");
						const files = randomFiles(plan.source);
						const { run, writes } = await expectRoundTrip(directory, plan, files, writeMode);
						const { memoryBytes, writeBufferBytes } = plan.limits;
						expect(run.peakStagingBytes).toBeLessThanOrEqual(memoryBytes - writeBufferBytes);
						expect(run.directBytes + run.copiedBytes).toBe(run.writtenBytes);
						expect(writes.refusals).toBe(0);
						if (writeMode === "buffered") expect(writes.directBytes).toBe(0);
						else expect(writes.directBytes).toBeGreaterThan(0.97 * largeBytes(plan));
					}),
					{ numRuns: 5, interruptAfterTimeLimit: 25_000 },
				);
			});
		},
	);
});

test("row shards of whole pages are written from where they were received", async () => {
	await inTemporaryFolder(async (root) => {
		const exprs = [source("a", "bfloat16", [4096, 1024]), source("b", "bfloat16", [2048, 2048])];
		const plan = createPlan({
			source: sourceFor(exprs, 2),
			map: mapFor(exprs),
			layout: gridLayout([4]),
			format: torchSaveFormat,
			dtype: "keep",
			limits: limitsFor(32 * MiB),
		});
		for (const writeMode of MODES) {
			const directory = join(root, writeMode);
			const files = randomFiles(plan.source);
			const { run, writes } = await expectRoundTrip(directory, plan, files, writeMode);
			expect(run).toMatchObject({ directBytes: 16 * MiB, copiedBytes: 0 });
			if (writeMode === "direct") expect(writes.directBytes).toBe(16 * MiB);
		}
	});
});
