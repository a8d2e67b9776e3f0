import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boxNumel } from "../../src/core/box.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { source } from "../../src/core/expr.ts";
import {
	PAGE_BYTES,
	PAGED_FROM_BYTES,
	pageAfter,
	pageBefore,
	pageOffset,
} from "../../src/core/pages.ts";
import type { EntrySink } from "../../src/core/ports.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import { partsOf } from "../../src/plan/parts.ts";
import type { Plan } from "../../src/plan/types.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runPlan, type RunSummary } from "../../src/stream/run-plan.ts";
import { largeBytes, largeJobs, largePlan } from "../support/large-plan.ts";
import { gridLayout, mapFor, plainFormat, sourceFor } from "../support/plan-fixtures.ts";
import { memorySink, memorySource, randomFiles } from "../support/stream-fakes.ts";

const MiB = 2 ** 20;

/** Shorter writes may come from anywhere. */
const SHORT_BYTES = 64 * 1024;

/** Runs a plan into memory that claims to be written past the page cache, and adds up what would be. */
async function runPaged(
	plan: Plan,
): Promise<{ readonly run: RunSummary; readonly pageBytes: number }> {
	const sink = memorySink(plan, undefined, undefined, "direct");
	const isPaged = plan.entries.map(
		({ box, dtype }) => boxNumel(box) * itemBytes(dtype) >= PAGED_FROM_BYTES,
	);
	let pageBytes = 0;
	const watched: EntrySink = {
		...sink,
		async write(index, offset, bytes) {
			if (isPaged[index] === true && bytes.length >= SHORT_BYTES) {
				expect(pageOffset(bytes.byteOffset - offset)).toBe(0);
				pageBytes += Math.max(0, pageBefore(offset + bytes.length) - pageAfter(offset));
			}
			await sink.write(index, offset, bytes);
		},
	};
	await using backend = createCpuBackend();
	const files = memorySource(randomFiles(plan.source));
	const run = await runPlan({ plan, source: files, backend, sink: watched });
	return { run, pageBytes };
}

describe("a sink that writes past the page cache", () => {
	test("gets large entries in phase with the page, and nearly all of them in whole pages", async () => {
		await fc.assert(
			fc.asyncProperty(largeJobs, async (job) => {
				const plan = largePlan(job, plainFormat);
				const { run, pageBytes } = await runPaged(plan);
				const parts = plan.tiles.flatMap((tile) => partsOf(plan, tile));
				// Each contiguous run of a part may begin and end inside a page and leave a short write for the end; a stack has two.
				const rest = 2 * (2 * PAGE_BYTES + SHORT_BYTES) * parts.length;
				expect(pageBytes).toBeGreaterThanOrEqual(largeBytes(plan) - rest);
				const { memoryBytes, writeBufferBytes } = plan.limits;
				expect(run.peakStagingBytes).toBeLessThanOrEqual(memoryBytes - writeBufferBytes);
			}),
			{ numRuns: 6, interruptAfterTimeLimit: 25_000 },
		);
	});

	test("bytes are moved only where two entries of one range are out of phase with each other", async () => {
		const rows = 3000;
		const plan = createPlan({
			source: sourceFor([source("a", "bfloat16", [rows, 1000])], 1),
			map: mapFor([source("a", "bfloat16", [rows, 1000])]),
			layout: gridLayout([2]),
			format: plainFormat,
			dtype: "keep",
			limits: limitsFor(256 * MiB),
		});
		expect(plan.totals.requests).toBe(1);
		const { run } = await runPaged(plan);
		expect(run).toMatchObject({ directBytes: 3_000_000, copiedBytes: 3_000_000 });
		const sink = memorySink(plan);
		await using backend = createCpuBackend();
		const files = memorySource(randomFiles(plan.source));
		const buffered = await runPlan({ plan, source: files, backend, sink });
		expect(buffered).toMatchObject({ directBytes: 6_000_000, copiedBytes: 0 });
	});
});
