import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { permute, source } from "../../src/core/expr.ts";
import { componentsOf } from "../../src/plan/components.ts";
import { createPlan, type PlanInputs } from "../../src/plan/create-plan.ts";
import { identityLines } from "../../src/plan/plan-id.ts";
import { partsOf } from "../../src/plan/parts.ts";
import { divideAmongThreads, type PlanShare, shareOf } from "../../src/plan/share.ts";
import { balanceOf, shareFactsOf } from "../../src/plan/share-facts.ts";
import type { Plan } from "../../src/plan/types.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runPlan } from "../../src/stream/run-plan.ts";
import {
	gridLayout,
	mapFor,
	plainFormat,
	sourceFor,
	tangledExprs,
} from "../support/plan-fixtures.ts";
import { expectedData, memorySink, memorySource, randomFiles } from "../support/stream-fakes.ts";

const size = fc.integer({ min: 1, max: 30 });

const inputs = fc
	.record({
		layers: fc.array(fc.record({ rows: size, columns: size, isTransposed: fc.boolean() })),
		parts: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 })),
		perFile: fc.integer({ min: 1, max: 12 }),
		tileBytes: fc.constantFrom(300, 600, 4096),
	})
	.map(({ layers, parts, perFile, tileBytes }): PlanInputs => {
		const exprs = [
			...tangledExprs(),
			...layers.map(({ rows, columns, isTransposed }, i) => {
				const weight = source(`w${i}`, "float32", [rows, columns]);
				return isTransposed ? permute(weight, [1, 0]) : weight;
			}),
		];
		return {
			source: sourceFor(exprs, perFile),
			map: mapFor(exprs, { tied: [{ name: "embed", reason: "test" }] }),
			layout: gridLayout(parts),
			format: plainFormat,
			dtype: "keep",
			limits: {
				budgetBytes: 9000,
				memoryBytes: 9000,
				writeBufferBytes: 800,
				tileBytes,
				maxTileBytes: 4096,
				requestBytes: 1024,
			},
		};
	});

const plans = inputs.map((one): Plan => createPlan(one));

const counts = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constant(500));

const bounded = { numRuns: 60, interruptAfterTimeLimit: 20_000 };

/** What every tile fetches and fills, under the indices of the whole plan. */
function workOf({ plan, entries }: PlanShare): string[] {
	return plan.tiles.map((tile) => {
		const parts = partsOf(plan, tile).map(({ entry, box }) => ({ entry: entries[entry], box }));
		return JSON.stringify([tile.ranges, tile.stagingBytes, parts]);
	});
}

const wholeOf = (plan: Plan): PlanShare => ({
	plan,
	entries: Uint32Array.from(plan.entries.keys()),
});

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

describe("divideAmongThreads", () => {
	test("every tile and every entry is in one share, and nothing else is", () => {
		fc.assert(
			fc.property(plans, counts, (plan, count) => {
				const shares = divideAmongThreads(plan, count);
				expect(shares).toHaveLength(count);
				const indices = shares.flatMap(({ entries }) => [...entries]);
				expect(indices.toSorted((a, b) => a - b)).toEqual([...plan.entries.keys()]);
				expect(shares.flatMap(workOf).toSorted()).toEqual(workOf(wholeOf(plan)).toSorted());
				for (const { plan: own, entries } of shares) {
					for (const [index, entry] of own.entries.entries()) {
						const { tensor, ...rest } = entry;
						const { tensor: wholeTensor, ...wholeRest } = plan.entries[entries[index]!]!;
						expect(rest).toEqual(wholeRest);
						const { firstEntry, endEntry, ...ownTensor } = own.tensors[tensor]!;
						expect(plan.tensors[wholeTensor]).toMatchObject(ownTensor);
						expect(firstEntry <= index && index < endEntry).toBe(true);
					}
				}
			}),
			bounded,
		);
	});

	test("the totals of the shares add up to those of the plan", () => {
		fc.assert(
			fc.property(plans, counts, (plan, count) => {
				const totals = divideAmongThreads(plan, count).map((share) => share.plan.totals);
				for (const key of ["fetchBytes", "requests", "entries"] as const) {
					expect(sum(totals.map((own) => own[key]))).toBe(plan.totals[key]);
				}
				const lengths = sum(plan.entries.map(({ length }) => length));
				expect(sum(totals.map(({ writeBytes }) => writeBytes))).toBe(lengths);
			}),
			bounded,
		);
	});

	test("is plain data and the same on every machine", () => {
		fc.assert(
			fc.property(plans, counts, (plan, count) => {
				const shares = divideAmongThreads(plan, count);
				expect(structuredClone(shares)).toEqual(shares);
				expect(divideAmongThreads(structuredClone(plan), count)).toEqual(shares);
			}),
			bounded,
		);
	});

	test("shares beyond what can be parted are empty", () => {
		fc.assert(
			fc.property(plans, (plan) => {
				const components = componentsOf(plan, () => false).length;
				const shares = divideAmongThreads(plan, components + 3);
				const busy = shares.filter(({ entries }) => entries.length > 0);
				expect(busy.length).toBeLessThanOrEqual(components);
				for (const { plan: own, entries } of shares) {
					if (entries.length === 0) expect(own.tiles).toEqual([]);
				}
			}),
			bounded,
		);
	});

	test("run one by one they make the same bytes, and read each source byte once", async () => {
		await fc.assert(
			fc.asyncProperty(plans, counts, async (plan, count) => {
				const files = randomFiles(plan.source);
				const expected = expectedData(plan, files);
				const backend = createCpuBackend();
				const bytes = memorySource(files);
				for (const { plan: own, entries } of divideAmongThreads(plan, count)) {
					const sink = memorySink(own);
					await runPlan({ plan: own, source: bytes, backend, sink });
					expect(sink.data).toEqual([...entries].map((entry) => expected[entry]));
				}
				const reads = bytes.reads.toSorted(
					(a, b) => a.file.localeCompare(b.file) || a.start - b.start,
				);
				for (const [i, read] of reads.entries()) {
					const next = reads[i + 1];
					if (next?.file === read.file) expect(read.end).toBeLessThanOrEqual(next.start);
				}
				expect(sum(reads.map(({ start, end }) => end - start))).toBe(plan.totals.fetchBytes);
				expect(reads.length).toBe(plan.totals.requests);
			}),
			{ ...bounded, numRuns: 30 },
		);
	});

	test("what an earlier run finished does not count", () => {
		const exprs = Array.from({ length: 8 }, (_, i) => source(`w${i}`, "float32", [64, 64]));
		const plan = createPlan({
			source: sourceFor(exprs, 4),
			map: mapFor(exprs),
			layout: gridLayout([1]),
			format: plainFormat,
			dtype: "keep",
			limits: {
				budgetBytes: 100_000,
				memoryBytes: 100_000,
				writeBufferBytes: 1024,
				tileBytes: 16_384,
				maxTileBytes: 49_152,
				requestBytes: 16_384,
			},
		});
		const isFinished = (entry: number): boolean => entry < 4;
		const left = (shares: readonly PlanShare[]): number[] =>
			shares.map(({ entries }) => entries.filter((entry) => !isFinished(entry)).length);
		expect(left(divideAmongThreads(plan, 2))).toEqual([0, 4]);
		expect(left(divideAmongThreads(plan, 2, isFinished))).toEqual([2, 2]);
	});
});

describe("a plan in shares", () => {
	const cut = fc.tuple(inputs, fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constant(200)));

	const sharesOf = (plan: Plan): PlanShare[] =>
		Array.from({ length: plan.shares }, (_, index) => shareOf(plan, index));

	test("every entry, every file and every tile is in one share, and the totals add up", () => {
		fc.assert(
			fc.property(cut, ([one, count]) => {
				const plan = createPlan({ ...one, shares: count });
				const shares = sharesOf(plan);
				const indices = shares.flatMap(({ entries }) => [...entries]);
				expect(indices.toSorted((a, b) => a - b)).toEqual([...plan.entries.keys()]);
				expect(shares.flatMap(workOf)).toEqual(workOf(wholeOf(plan)));
				const files = shares.flatMap((share) => share.plan.files);
				expect(files.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual(
					plan.files.toSorted((a, b) => a.name.localeCompare(b.name)),
				);
				for (const [index, { plan: own }] of shares.entries()) {
					const names = own.files.map(({ name }) => name);
					expect(names.every((name) => name.endsWith(`_${index}.distcp`))).toBe(true);
				}
				for (const key of ["fetchBytes", "requests", "entries", "writeBytes", "files"] as const) {
					expect(sum(shares.map((share) => share.plan.totals[key]))).toBe(plan.totals[key]);
				}
			}),
			bounded,
		);
	});

	test("the facts of its shares are the totals of their plans", () => {
		fc.assert(
			fc.property(cut, ([one, count]) => {
				const plan = createPlan({ ...one, shares: count });
				const facts = shareFactsOf(plan);
				const shares = sharesOf(plan);
				expect(facts).toHaveLength(count);
				for (const [index, { files, sourceFiles, ...rest }] of facts.entries()) {
					const { plan: own } = shares[index]!;
					expect(own.totals).toMatchObject({ ...rest, files: files.length });
					expect(own.files).toEqual(files);
					const read = own.tiles.flatMap(({ ranges }) => ranges.map(({ file }) => file));
					expect(sourceFiles).toBe(new Set(read).size);
				}
				const loads = facts.map(({ fetchBytes, writeBytes }) => fetchBytes + writeBytes);
				const { maxBytes, meanBytes, emptyShares } = balanceOf(facts);
				expect(maxBytes).toBe(Math.max(...loads));
				expect(meanBytes * count).toBeCloseTo(sum(loads), 3);
				expect(emptyShares).toBe(loads.filter((load) => load === 0).length);
			}),
			bounded,
		);
	});

	test("fetches no more than a plan of one share, whose entries are as they were", () => {
		fc.assert(
			fc.property(cut, ([one, count]) => {
				const whole = createPlan(one);
				const plan = createPlan({ ...one, shares: count });
				expect(plan.totals.fetchBytes).toBe(whole.totals.fetchBytes);
				const { entriesCutForShares: more } = plan.totals;
				expect(plan.entries.length).toBe(whole.entries.length + more);
				const lines = [...identityLines(createPlan({ ...one, shares: 1 }))];
				expect(lines).toEqual([...identityLines(whole)]);
				expect([...identityLines(createPlan({ ...one, shares: count }))]).toEqual([
					...identityLines(plan),
				]);
			}),
			bounded,
		);
	});

	test("run one by one its shares make the bytes of the plan, and read each source byte once", async () => {
		await fc.assert(
			fc.asyncProperty(cut, fc.integer({ min: 1, max: 3 }), async ([one, count], threads) => {
				const plan = createPlan({ ...one, shares: count });
				const files = randomFiles(plan.source);
				const expected = expectedData(plan, files);
				const backend = createCpuBackend();
				const bytes = memorySource(files);
				for (const share of sharesOf(plan)) {
					for (const { plan: own, entries } of divideAmongThreads(share.plan, threads)) {
						const sink = memorySink(own);
						await runPlan({ plan: own, source: bytes, backend, sink });
						expect(sink.data).toEqual([...entries].map((entry) => expected[share.entries[entry]!]));
					}
				}
				const read = sum(bytes.reads.map(({ start, end }) => end - start));
				expect(read).toBe(plan.totals.fetchBytes);
			}),
			{ ...bounded, numRuns: 30 },
		);
	});

	test("a number of shares that is none is refused", () => {
		fc.assert(
			fc.property(inputs, fc.constantFrom(0, -1, 1.5, NaN), (one, count) => {
				expect(() => createPlan({ ...one, shares: count })).toThrow(/cannot be cut into/);
			}),
			{ numRuns: 4 },
		);
	});
});
