import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ConvertSummary } from "../../src/index.ts";
import { enlarged, runOnGpu, summariesOf, withValues, writeModel } from "../support/gpu-runs.ts";
import { smallLlama3 } from "../support/model-sources.ts";
import { findSoftwareGpu } from "../support/software-gpu.ts";

const gpu = findSoftwareGpu();
const skip = "skip" in gpu ? gpu.skip : undefined;

const MiB = 2 ** 20;

describe.skipIf(skip !== undefined)(
	`memory of a GPU process${skip === undefined ? "" : `: ${skip}`}`,
	() => {
		let root = "";

		beforeAll(() => {
			root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-gpu-memory-"));
		});
		afterAll(() => {
			rmSync(root, { recursive: true });
		});

		test("a model of several times its budget takes the budget and the pools, and no more with time", async () => {
			const model = withValues(enlarged(smallLlama3(), 40), "float32");
			const repo = await writeModel(join(root, "model"), model);
			const out = join(root, "out");
			const flags = ["--device=webgpu", "--dtype=bfloat16", "--memory=16MiB", "--threads=1"];
			const args = [repo, "--out", out, ...flags];
			const result = await runOnGpu({ args, folder: root, isWatched: true });
			const [{ threads, totals }] = summariesOf(result) as [ConvertSummary];
			expect(totals.fetchBytes).toBeGreaterThan(2 * totals.memoryBytes);
			const batches = threads[0]?.gpu?.batches ?? 0;
			const busy = result.logs.find(({ events }) =>
				events.some(({ batch = 0 }) => batch > batches),
			)!;
			// What the driver keeps of them lies in the process: here all of it, as the GPU is the processor.
			const pools = busy.events.reduce((sum, { buffer = 0 }) => sum + buffer, 0);
			const seen = busy.events.flatMap(({ rss }) => rss ?? []);
			const [begun = 0] = seen;
			const work = seen.slice(-batches);
			const middle = Math.floor(work.length / 2);
			const early = Math.max(...work.slice(0, middle));
			const late = Math.max(...work.slice(middle));
			// The heap, and what the driver compiles, are beside the budget, as they are beside the CPU's.
			expect(Math.max(early, late) - begun).toBeLessThan(totals.memoryBytes + pools + 96 * MiB);
			// The second half of the model is 30 MB of source bytes and 15 MB of what was made of them.
			expect(late - early).toBeLessThan(16 * MiB);
		});
	},
);
