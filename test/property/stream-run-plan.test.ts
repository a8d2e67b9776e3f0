import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { itemBytes } from "../../src/core/dtype.ts";
import type { ProgressEvent } from "../../src/core/events.ts";
import {
	type Expr,
	fill,
	permute,
	reshape,
	slice,
	source,
	sourcesOf,
	stack,
} from "../../src/core/expr.ts";
import type { ByteSource } from "../../src/core/ports.ts";
import type { SourceNote } from "../../src/core/recipe.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import type { Plan } from "../../src/plan/types.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runPlan } from "../../src/stream/run-plan.ts";
import { arbitraryExpr, leavesOf } from "../support/arbitrary-expr.ts";
import {
	fp8,
	gridLayout,
	mapFor,
	mxfp4,
	plainFormat,
	sourceFor,
} from "../support/plan-fixtures.ts";
import {
	expectedData,
	type Faults,
	memorySink,
	memorySource,
	noFaults,
	randomFiles,
} from "../support/stream-fakes.ts";

const backend = createCpuBackend();

/** A run that hangs is a failure; many slow runs are not. */
const bounded = { timeout: 5_000, interruptAfterTimeLimit: 20_000 };

const E = 3;
const D = 24;
const F = 20;

const s = (name: string, shape: readonly number[]): Expr => source(name, "bfloat16", shape);

/** A small MoE layer and what else a plan can hold: a constant, a tied tensor, a tensor without elements, a scalar. */
function modelExprs(): Expr[] {
	const gateUp = s("gate_up", [E, D, 2 * F]);
	const embed = s("embed", [40, D]);
	return [
		embed,
		s("norm", [D]),
		reshape(permute(reshape(s("q", [32, D]), [4, 2, 4, D]), [0, 2, 1, 3]), [32, D]),
		permute(slice(gateUp, 2, 0, F), [0, 2, 1]),
		permute(slice(gateUp, 2, F, 2 * F), [0, 2, 1]),
		stack(
			Array.from({ length: E }, (_, e) => s(`experts.${e}`, [F, D])),
			0,
		),
		fill([E], 0, "float32"),
		source("odd", "uint8", [7]),
		source("steps", "int64", []),
		source("none", "float32", [0, 4]),
		embed,
		fp8("fp8", [22, 20]),
		permute(mxfp4("mxfp4", [2, 10], 1), [0, 2, 1]),
	];
}

const tied = [{ name: "embed", reason: "test" }];

function modelPlan(settings: {
	readonly parts?: readonly number[];
	readonly perFile?: number;
	readonly maxTileBytes?: number;
	readonly requestBytes?: number;
	readonly writeBufferBytes?: number;
	readonly dtype?: "keep" | "float32" | "float16";
	readonly exprs?: readonly Expr[];
	readonly tied?: readonly SourceNote[];
}): Plan {
	const { maxTileBytes = 4096, writeBufferBytes = 512, requestBytes = 700 } = settings;
	const exprs = settings.exprs ?? modelExprs();
	return createPlan({
		source: sourceFor(exprs, settings.perFile ?? 5),
		map: mapFor(exprs, { tied: settings.tied ?? tied }),
		layout: gridLayout(settings.parts ?? [2, 2]),
		format: plainFormat,
		dtype: settings.dtype ?? "keep",
		limits: {
			budgetBytes: 2 * maxTileBytes + writeBufferBytes,
			memoryBytes: 2 * maxTileBytes + writeBufferBytes,
			writeBufferBytes,
			tileBytes: Math.min(600, maxTileBytes),
			maxTileBytes,
			requestBytes,
		},
	});
}

const settings = fc.record({
	parts: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 })),
	perFile: fc.integer({ min: 1, max: 12 }),
	maxTileBytes: fc.constantFrom(2048, 4096, 100_000),
	requestBytes: fc.constantFrom(500, 1201, 100_000),
	writeBufferBytes: fc.constantFrom(128, 1024, 100_000),
	dtype: fc.constantFrom("keep" as const, "float32" as const, "float16" as const),
});

const dataBytes = (plan: Plan): number =>
	plan.entries.reduce(
		(sum, { box, dtype }) => sum + box.size.reduce((a, b) => a * b, itemBytes(dtype)),
		0,
	);

describe("runPlan", () => {
	test("writes exactly the right bytes, with either set of kernels, reads each source byte once, keeps the budget", async () => {
		let ofParts = 0;
		await fc.assert(
			fc.asyncProperty(settings, async (chosen) => {
				const plan = modelPlan(chosen);
				const files = randomFiles(plan.source);
				const bytes = memorySource(files);
				const sink = memorySink(plan);
				const summary = await runPlan({ plan, source: bytes, backend, sink, hash: "sha256" });
				expect(sink.data).toEqual(expectedData(plan, files));
				const plain = memorySink(plan);
				const without = createCpuBackend({ simd: false });
				await runPlan({ plan, source: memorySource(files), backend: without, sink: plain });
				expect(plain.data).toEqual(sink.data);
				expect(plain.hashes.size).toBe(0);
				// The sink compares each with the data.
				expect(sink.hashes.size).toBe(plan.entries.length);
				for (const { ends } of sink.hashes.values()) if (ends !== undefined) ofParts++;
				expect(sink.durable.size).toBe(plan.entries.length);
				for (const range of bytes.reads) {
					expect(range.end - range.start).toBeLessThanOrEqual(chosen.requestBytes);
				}
				const sorted = bytes.reads.toSorted(
					(a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.start - b.start,
				);
				sorted.forEach((range, i) => {
					const previous = sorted[i - 1];
					if (previous?.file === range.file) {
						expect(previous.end).toBeLessThanOrEqual(range.start);
					}
				});
				expect(summary).toMatchObject({
					fetchedBytes: plan.totals.fetchBytes,
					requests: plan.totals.requests,
					writtenBytes: dataBytes(plan),
					entries: plan.entries.length,
					resumedEntries: 0,
				});
				expect(bytes.reads.length).toBe(plan.totals.requests);
				expect(summary.directBytes + summary.copiedBytes).toBe(summary.writtenBytes);
				const { memoryBytes, writeBufferBytes } = plan.limits;
				expect(summary.peakStagingBytes).toBeLessThanOrEqual(memoryBytes - writeBufferBytes);
			}),
			{ numRuns: 16, ...bounded },
		);
		expect(ofParts).toBeGreaterThan(0);
	});

	test("random expressions, cut into small tiles and windows", async () => {
		await fc.assert(
			fc.asyncProperty(arbitraryExpr(), settings, async (expr, chosen) => {
				// Elements that the expression leaves out are used where all that it reads is stored under keys of its own.
				const plan = modelPlan({
					...chosen,
					exprs: [expr, ...leavesOf(expr)],
					tied: sourcesOf(expr).map(({ name }) => ({ name, reason: "test" })),
					maxTileBytes: 100_000,
				});
				const files = randomFiles(plan.source);
				const sink = memorySink(plan);
				await runPlan({ plan, source: memorySource(files), backend, sink });
				expect(sink.data).toEqual(expectedData(plan, files));
			}),
			{ numRuns: 60, ...bounded },
		);
	});

	test("rows that keep their order are written from where they were received", async () => {
		const exprs = [source("a", "bfloat16", [64, 32]), source("b", "bfloat16", [16, 32])];
		const plan = modelPlan({ exprs, parts: [4] });
		const sink = memorySink(plan);
		const files = randomFiles(plan.source);
		const summary = await runPlan({ plan, source: memorySource(files), backend, sink });
		expect(summary).toMatchObject({ copiedBytes: 0, directBytes: 80 * 32 * 2 });
	});

	test("finished entries are neither fetched nor written again", async () => {
		await fc.assert(
			fc.asyncProperty(settings, fc.infiniteStream(fc.boolean()), async (chosen, coin) => {
				const plan = modelPlan(chosen);
				const files = randomFiles(plan.source);
				const resumed = new Set(
					[...plan.entries.keys()].filter(() => coin.next().value as boolean),
				);
				const sink = memorySink(plan, noFaults(), resumed);
				const events: ProgressEvent[] = [];
				const onEvent = (event: ProgressEvent): unknown => events.push(event);
				const bytes = memorySource(files);
				const summary = await runPlan({ plan, source: bytes, backend, sink, onEvent });
				const expected = expectedData(plan, files);
				for (const [index, data] of sink.data.entries()) {
					expect(data).toEqual(resumed.has(index) ? new Uint8Array(data.length) : expected[index]);
				}
				expect(summary.resumedEntries).toBe(resumed.size);
				expect(summary.entries + resumed.size).toBe(plan.entries.length);
				const entryEvents = events.filter((event) => event.kind === "entry");
				expect(entryEvents.length).toBe(plan.entries.length);
				expect(entryEvents.filter((event) => event.resumed).length).toBe(resumed.size);
				if (resumed.size === plan.entries.length) expect(bytes.reads).toEqual([]);
			}),
			{ numRuns: 16, ...bounded },
		);
	});
});

test("where rows are cut, a run that continues fetches the bytes of the missing entries and no other", async () => {
	const exprs = ["a", "b", "c"].map((name) => s(name, [30, 16]));
	const plan = modelPlan({ exprs, parts: [5], tied: [] });
	const files = randomFiles(plan.source);
	await fc.assert(
		fc.asyncProperty(fc.subarray([...plan.entries.keys()]), async (done) => {
			const resumed = new Set(done);
			const sink = memorySink(plan, noFaults(), resumed);
			const bytes = memorySource(files);
			const summary = await runPlan({ plan, source: bytes, backend, sink });
			const missing = plan.entries.length - resumed.size;
			expect(summary.fetchedBytes).toBe(missing * 6 * 16 * 2);
			expect(bytes.reads.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(
				summary.fetchedBytes,
			);
		}),
		{ numRuns: 30, ...bounded },
	);
});

/** Runs until the fault strikes and checks what must hold then; gives the entries that need not be made again. */
async function expectFailure(
	plan: Plan,
	files: ReadonlyMap<string, Uint8Array>,
	faults: Faults,
	error: Error,
	signal?: AbortSignal,
): Promise<ReadonlySet<number>> {
	let isFlushFault = false;
	const before = (call: number, what: string): void => {
		try {
			faults.before(call, what);
		} catch (fault) {
			isFlushFault ||= what === "flush";
			throw fault;
		}
	};
	const watched: Faults = { calls: 0, inFlight: 0, before };
	const sink = memorySink(plan, watched);
	const bytes = memorySource(files, watched);
	await expect(runPlan({ plan, source: bytes, backend, sink, signal })).rejects.toBe(error);
	// Nothing is under way that could still touch memory or files, and nothing is started later.
	expect(watched.inFlight).toBe(0);
	const { calls } = watched;
	for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
	expect(watched.calls).toBe(calls);
	expect(sink.violations).toEqual([]);
	if (!isFlushFault) expect(sink.durable).toEqual(sink.finished);
	return sink.durable;
}

describe("runPlan, disturbed", () => {
	const plan = modelPlan({ parts: [2], requestBytes: 2000, writeBufferBytes: 4096 });
	const files = randomFiles(plan.source);
	const expected = expectedData(plan, files);
	const calls = async (): Promise<number> => {
		const faults = noFaults();
		const sink = memorySink(plan, faults);
		await runPlan({ plan, source: memorySource(files, faults), backend, sink });
		return faults.calls;
	};

	/** The next run makes what is missing and only that. */
	const finishes = async (durable: ReadonlySet<number>): Promise<void> => {
		const sink = memorySink(plan, noFaults(), durable);
		await runPlan({ plan, source: memorySource(files), backend, sink });
		for (const [index, data] of sink.data.entries()) {
			if (!durable.has(index)) expect(data).toEqual(expected[index]);
		}
		expect(sink.durable.size).toBe(plan.entries.length);
	};

	test("a failure of any call of any port: the first error, nothing left running, and a run that continues", async () => {
		const total = await calls();
		const struck = new Set<string>();
		for (let failing = 0; failing < total; failing++) {
			const error = new Error(`call ${failing}`);
			const before = (call: number, what: string): void => {
				if (call !== failing) return;
				struck.add(what);
				throw error;
			};
			await finishes(await expectFailure(plan, files, { calls: 0, inFlight: 0, before }, error));
		}
		expect([...struck].toSorted()).toEqual(["finish", "flush", "read", "write"]);
	});

	test("an abort at any call: the reason itself, nothing left running, and a run that continues", async () => {
		const total = await calls();
		// The last call is the final flush: nothing is left to be aborted then.
		for (let stopping = 0; stopping < total - 1; stopping++) {
			const reason = new Error("stop");
			const controller = new AbortController();
			const before = (call: number): void => {
				if (call === stopping) controller.abort(reason);
			};
			const faults = { calls: 0, inFlight: 0, before };
			await finishes(await expectFailure(plan, files, faults, reason, controller.signal));
		}
	});

	test("an abort before the start: no call at all", async () => {
		const reason = new Error("stop");
		const before = vi.fn();
		const faults = { calls: 0, inFlight: 0, before };
		await expectFailure(plan, files, faults, reason, AbortSignal.abort(reason));
		expect(before).not.toHaveBeenCalled();
	});

	test("the first failure aborts reads that would otherwise wait for ever", async () => {
		const error = new Error("first");
		let reads = 0;
		const waiting: ByteSource = {
			readInto: async (_, __, options) =>
				await new Promise((_resolve, reject) => {
					if (reads++ === 0) setImmediate(() => reject(error));
					const { signal } = options!;
					signal!.addEventListener("abort", () => reject(signal!.reason as Error));
				}),
			async [Symbol.asyncDispose]() {},
		};
		const run = runPlan({ plan, source: waiting, backend, sink: memorySink(plan) });
		await expect(run).rejects.toBe(error);
		expect(reads).toBeGreaterThan(1);
	});

	test("a tile larger than the staging memory", async () => {
		const { limits } = plan;
		const small = { ...plan, limits: { ...limits, memoryBytes: limits.writeBufferBytes + 64 } };
		const run = runPlan({
			plan: small,
			source: memorySource(files),
			backend,
			sink: memorySink(plan),
		});
		await expect(run).rejects.toMatchObject({ code: "BUDGET_EXCEEDED" });
	});

	test("a listener that throws costs nothing", async () => {
		const sink = memorySink(plan);
		const onEvent = vi.fn(() => {
			throw new Error("broken display");
		});
		await runPlan({ plan, source: memorySource(files), backend, sink, onEvent });
		expect(sink.data).toEqual(expected);
		expect(onEvent).toHaveBeenCalled();
	});
});
