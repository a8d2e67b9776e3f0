import { describe, expect, test } from "vitest";
import { componentsOf } from "../../src/plan/components.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import { sharePlan } from "../../src/plan/share.ts";
import type { Plan, PlanLimits } from "../../src/plan/types.ts";
import {
	type GoldenLayout,
	goldenLayoutNames,
	readGoldenLayout,
} from "../support/golden-layouts.ts";
import { planOfGolden } from "../support/golden-plan.ts";

/** Bytes of a model beside which the default limits are small. */
const LARGE_BYTES = 8e9;

/** The default limits, scaled down with the model: a debug model would otherwise be a single request. */
function limitsOf({ params }: GoldenLayout): PlanLimits {
	const limits = limitsFor(512 * 2 ** 20);
	const bytes = Object.values(params).reduce(
		(sum, { global_shape: shape }) => sum + shape.reduce((a, b) => a * b, 2),
		0,
	);
	const scale = Math.min(1, bytes / LARGE_BYTES);
	const scaled = (limit: number): number => Math.ceil(limit * scale);
	return {
		...limits,
		tileBytes: scaled(limits.tileBytes),
		requestBytes: scaled(limits.requestBytes),
	};
}

/** Source bytes fetched, after proof that none is fetched twice. */
function fetchedOnce(plans: readonly Plan[]): number {
	const ranges = plans
		.flatMap(({ tiles }) => tiles.flatMap((tile) => tile.ranges))
		.toSorted((a, b) => a.file - b.file || a.start - b.start);
	let bytes = 0;
	for (const [i, range] of ranges.entries()) {
		const next = ranges[i + 1];
		if (next?.file === range.file && next.start < range.end) throw new Error("fetched twice");
		bytes += range.end - range.start;
	}
	return bytes;
}

describe("shares of every layout torchtitan was asked for", () => {
	test.each(goldenLayoutNames())("%s", (name) => {
		const golden = readGoldenLayout(name);
		const plan = planOfGolden(golden, limitsOf(golden));
		const needed = plan.source.tensors.reduce((sum, { begin, end }) => sum + end - begin, 0);
		const weights = componentsOf(plan, () => false)
			.map(({ bytes }) => bytes)
			.toSorted((a, b) => b - a);
		for (const count of [1, 2, 5, 16]) {
			const shares = sharePlan(plan, count);
			expect(fetchedOnce(shares.map((share) => share.plan))).toBe(needed);
			const requests = shares.reduce((sum, share) => sum + share.plan.totals.requests, 0);
			expect(requests).toBe(plan.totals.requests);
			const loads = shares.map(({ plan: { totals } }) => totals.fetchBytes + totals.writeBytes);
			const mean = loads.reduce((sum, load) => sum + load, 0) / count;
			// No division is better: the largest component is whole, and of one more than there are shares two are together.
			const two = (weights[count - 1] ?? 0) + (weights[count] ?? 0);
			const least = Math.max(mean, weights[0] ?? 0, two);
			expect(Math.max(...loads)).toBeLessThanOrEqual(1.2 * least);
		}
	});
});
