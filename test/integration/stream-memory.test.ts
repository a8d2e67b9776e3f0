import { describe, expect, test } from "vitest";
import { permute, source } from "../../src/core/expr.ts";
import type { ByteSource, EntrySink, ReshardBackend } from "../../src/core/ports.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runPlan } from "../../src/stream/run-plan.ts";
import { NO_WRITES } from "../support/stream-fakes.ts";
import { gridLayout, mapFor, plainFormat, sourceFor } from "../support/plan-fixtures.ts";

const MiB = 2 ** 20;

describe("memory", () => {
	test("a run of many times its budget allocates the budget, once", async () => {
		const exprs = Array.from({ length: 6 }, (_, i) => {
			const weight = source(`w${i}`, "bfloat16", [2048, 2048]);
			return i % 2 === 0 ? weight : permute(weight, [1, 0]);
		});
		const plan = createPlan({
			source: sourceFor(exprs, 4),
			map: mapFor(exprs),
			layout: gridLayout([4]),
			format: plainFormat,
			dtype: "float32",
			limits: limitsFor(16 * MiB),
		});
		expect(plan.totals.fetchBytes).toBe(48 * MiB);
		const start = process.memoryUsage().arrayBuffers;
		const seen: number[] = [];
		const look = async (): Promise<void> => {
			await new Promise((resolve) => setImmediate(resolve));
			seen.push(process.memoryUsage().arrayBuffers - start);
		};
		const memories = new Set<ArrayBufferLike>();
		let writesInFlight = 0;
		let mostWrites = 0;
		let inFlight = 0;
		let most = 0;
		const bytes: ByteSource = {
			async readInto(_, into) {
				memories.add(into.buffer);
				inFlight += into.length;
				most = Math.max(most, inFlight);
				await look();
				into.fill(1);
				inFlight -= into.length;
			},
			async [Symbol.asyncDispose]() {},
		};
		const sink: EntrySink = {
			writes: NO_WRITES,
			isFinished: () => false,
			async write(_, __, chunk) {
				memories.add(chunk.buffer);
				writesInFlight++;
				mostWrites = Math.max(mostWrites, writesInFlight);
				await look();
				writesInFlight--;
			},
			finish: look,
			flush: look,
			async [Symbol.asyncDispose]() {},
		};
		const cpu = createCpuBackend();
		const allocated: number[] = [];
		const backend: ReshardBackend = {
			...cpu,
			allocate(size) {
				allocated.push(size);
				return cpu.allocate(size);
			},
		};
		const summary = await runPlan({ plan, source: bytes, backend, sink });
		expect(summary.writtenBytes).toBe(96 * MiB);
		expect(allocated).toEqual([plan.limits.memoryBytes]);
		// Whatever else is allocated while it runs, it is no buffers.
		expect(Math.max(...seen)).toBeLessThanOrEqual(64 * 1024);
		expect(summary.peakStagingBytes).toBeLessThanOrEqual(15 * MiB);
		// All that was received and written lay in the one block of memory, with a write under way per buffer at most.
		expect(memories.size).toBe(1);
		expect(mostWrites).toBe(2);
		// The budget is used: several tiles are on their way at once.
		expect(most).toBeGreaterThan(plan.totals.largestTileBytes);
	});
});
