import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Expr, permute, source } from "../../src/core/expr.ts";
import type { Layout } from "../../src/core/layout.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import { exactRanges } from "../../src/plan/footprint.ts";
import { hullsOf } from "../../src/plan/hulls.ts";
import { placesOf } from "../../src/plan/places.ts";
import { ranksOfWorker } from "../../src/plan/held-entries.ts";
import { holderSetsOf } from "../../src/plan/holder-sets.ts";
import { localSharesOf } from "../../src/plan/local-share.ts";
import { pull } from "../../src/plan/pull.ts";
import type { PlanShare } from "../../src/plan/share.ts";
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

/** The same, and tensors that are cut in many rows and columns. */
function modelExprs(): Expr[] {
	return [
		...tangledExprs(),
		permute(source("wide", "bfloat16", [120, 90]), [1, 0]),
		source("tall", "bfloat16", [90, 120]),
	];
}

interface Job {
	readonly plan: Plan;
	readonly layout: Layout;
	/** Ranks of one worker. */
	readonly ranks: readonly number[];
}

const jobs: fc.Arbitrary<Job> = fc
	.record({
		parts: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 4 })),
		replicas: fc.integer({ min: 1, max: 3 }),
		perFile: fc.integer({ min: 1, max: 12 }),
		tileBytes: fc.constantFrom(300, 600, 4096),
		requestBytes: fc.constantFrom(64, 1024, 16_384),
		chosen: fc.array(fc.nat(1000), { minLength: 1, maxLength: 6 }),
	})
	.map(({ parts, replicas, perFile, tileBytes, requestBytes, chosen }): Job => {
		const exprs = modelExprs();
		const layout = gridLayout(parts, replicas);
		const plan = createPlan({
			source: sourceFor(exprs, perFile),
			map: mapFor(exprs, { tied: [{ name: "embed", reason: "test" }] }),
			layout,
			format: plainFormat,
			dtype: "keep",
			limits: {
				budgetBytes: 9000,
				memoryBytes: 9000,
				writeBufferBytes: 800,
				tileBytes,
				maxTileBytes: 4096,
				requestBytes,
			},
		});
		return { plan, layout, ranks: chosen.map((one) => one % layout.worldSize) };
	});

const bounded = { numRuns: 60, interruptAfterTimeLimit: 20_000 };

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

/** What ranks hold, found by looking at every shard of every entry. */
function heldBy({ plan, layout, ranks }: Job): number[] {
	return [...plan.entries.keys()].filter((index) => {
		const { tensor, box } = plan.entries[index]!;
		const { fqn, shape } = plan.tensors[tensor]!;
		if (shape.includes(0)) return true;
		return layout.shardsOf(fqn, shape).some((shard) => {
			const isInside = box.offset.every((start, d) => {
				const from = shard.box.offset[d]!;
				return start >= from && start + box.size[d]! <= from + shard.box.size[d]!;
			});
			return isInside && shard.ranks.some((rank) => ranks.includes(rank));
		});
	});
}

/** What is fetched and not needed, in stretches between two needed bytes; throws when one is at the end of a request's range. */
function gapsOf(plan: Plan, share: PlanShare): number[] {
	const places = placesOf(plan);
	const hulls = [...share.entries].flatMap((index) => {
		const { tensor, box } = plan.entries[index]!;
		return hullsOf(pull(plan.tensors[tensor]!.expr, box), places);
	});
	const needed = exactRanges(hulls, Infinity)!;
	return share.plan.tiles.flatMap(({ ranges }) =>
		ranges.flatMap((range) => {
			const inside = needed.filter(
				({ file, start, end }) => file === range.file && start < range.end && end > range.start,
			);
			const first = inside[0]!;
			const last = inside.at(-1)!;
			if (first.start > range.start || last.end < range.end) throw new Error("not needed");
			return inside.slice(1).map(({ start }, i) => start - inside[i]!.end);
		}),
	);
}

describe("the share of a worker with a disk of its own", () => {
	test("has the entries its ranks hold and no others, where the whole checkpoint has them", () => {
		fc.assert(
			fc.property(jobs, (job) => {
				const { plan, layout, ranks } = job;
				const share = localSharesOf(plan, layout).shareOf(ranks);
				expect([...share.entries]).toEqual(heldBy(job));
				for (const [index, { tensor: _, ...entry }] of share.plan.entries.entries()) {
					expect(plan.entries[share.entries[index]!]).toMatchObject(entry);
				}
				const names = new Set(share.plan.entries.map(({ file }) => file));
				expect(share.plan.files).toEqual(plan.files.filter(({ name }) => names.has(name)));
			}),
			bounded,
		);
	});

	test("makes the bytes of the whole checkpoint, and fetches what its totals say", async () => {
		await fc.assert(
			fc.asyncProperty(jobs, async ({ plan, layout, ranks }) => {
				const files = randomFiles(plan.source);
				const expected = expectedData(plan, files);
				const bytes = memorySource(files);
				const share = localSharesOf(plan, layout).shareOf(ranks);
				const sink = memorySink(share.plan);
				await runPlan({ plan: share.plan, source: bytes, backend: createCpuBackend(), sink });
				expect(sink.data).toEqual([...share.entries].map((entry) => expected[entry]));
				const { fetchBytes, requests } = share.plan.totals;
				expect(sum(bytes.reads.map(({ start, end }) => end - start))).toBe(fetchBytes);
				expect(bytes.reads.length).toBe(requests);
			}),
			{ ...bounded, numRuns: 40 },
		);
	});

	test("of what it does not need it fetches only gaps that are not worth a request", () => {
		fc.assert(
			fc.property(jobs, ({ plan, layout, ranks }) => {
				const share = localSharesOf(plan, layout).shareOf(ranks);
				const gaps = gapsOf(plan, share);
				expect(gaps.every((gap) => gap < plan.limits.requestBytes / 16)).toBe(true);
			}),
			bounded,
		);
	});

	test("costs what all workers do beyond one conversion; for all ranks together nothing", () => {
		fc.assert(
			fc.property(jobs, fc.integer({ min: 1, max: 60 }), ({ plan, layout }, wanted) => {
				const world = layout.worldSize;
				const count = Array.from({ length: wanted }, (_, i) => wanted - i).find(
					(n) => world % n === 0,
				)!;
				const workers = Array.from({ length: count }, (_, index) =>
					ranksOfWorker(world, { index, count }),
				);
				expect(workers.flat()).toEqual(Array.from({ length: world }, (_, rank) => rank));
				const shares = localSharesOf(plan, layout);
				const cost = shares.costOf(workers);
				expect(cost.workers).toEqual(workers.map((ranks) => shares.shareOf(ranks).plan.totals));
				const written = sum(
					workers.flatMap((ranks) =>
						[...shares.shareOf(ranks).entries].map((entry) => plan.entries[entry]!.length),
					),
				);
				const once = sum(plan.entries.map(({ length }) => length));
				expect(cost.extraWriteBytes).toBe(written - once);
				expect(cost.extraFetchBytes).toBe(
					sum(cost.workers.map(({ fetchBytes }) => fetchBytes)) - plan.totals.fetchBytes,
				);
				if (count === 1) expect(cost).toMatchObject({ extraFetchBytes: 0, extraWriteBytes: 0 });
				expect(cost.extraFetchBytes).toBeGreaterThanOrEqual(0);
				expect(cost.extraWriteBytes).toBeGreaterThanOrEqual(0);
			}),
			bounded,
		);
	});
});

describe("what cannot be", () => {
	const exprs = [source("a", "bfloat16", [64, 64])];
	const layout = gridLayout([8]);
	const inputs = {
		source: sourceFor(exprs, 1),
		map: mapFor(exprs),
		layout,
		format: plainFormat,
		dtype: "keep" as const,
		limits: {
			budgetBytes: 100_000,
			memoryBytes: 100_000,
			writeBufferBytes: 1024,
			tileBytes: 16_384,
			maxTileBytes: 49_152,
			requestBytes: 16_384,
		},
	};

	test("a world that does not divide by the workers", () => {
		expect(() => ranksOfWorker(8, { index: 0, count: 3 })).toThrow(/3 workers cannot stand for 8/);
		expect(() => ranksOfWorker(8, { index: 0, count: 16 })).toThrow(/16 workers cannot stand/);
		expect(ranksOfWorker(8, { index: 3, count: 4 })).toEqual([6, 7]);
	});

	test.each([[[8]], [[-1]], [[0, 1.5]]])("ranks %j of a world of 8", (ranks) => {
		const shares = localSharesOf(createPlan(inputs), layout);
		expect(() => shares.shareOf(ranks)).toThrow(/is not in a training job of 8 ranks/);
	});

	test("no ranks", () => {
		const shares = localSharesOf(createPlan(inputs), layout);
		expect(() => shares.shareOf([])).toThrow(/at least one rank/);
	});

	test("a plan in several shares", () => {
		const plan = createPlan({ ...inputs, shares: 2 });
		expect(() => localSharesOf(plan, layout)).toThrow(/a plan in 2 shares/);
	});
});

test("the sets of holders are the ranks that have an entry on their disk, each set once", () => {
	fc.assert(
		fc.property(jobs, ({ plan, layout }) => {
			const { sets, setOf } = holderSetsOf(plan, layout);
			expect(new Set(sets.map((ranks) => ranks.join())).size).toBe(sets.length);
			expect(setOf.length).toBe(plan.entries.length);
			const shares = localSharesOf(plan, layout);
			for (let rank = 0; rank < plan.worldSize; rank++) {
				const held = [...setOf.keys()].filter((entry) => sets[setOf[entry]!]!.includes(rank));
				expect(held).toEqual([...shares.shareOf([rank]).entries]);
			}
		}),
		{ numRuns: 20, interruptAfterTimeLimit: 5_000 },
	);
});
