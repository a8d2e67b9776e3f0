import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
	type GpuRun,
	runOnGpu,
	summariesOf,
	threadsOf,
	warningsOf,
	withValues,
	writeModel,
} from "../support/gpu-runs.ts";
import { fingerprint } from "../support/job-rig.ts";
import { smallLlama3, smallLlama4 } from "../support/model-sources.ts";
import { tinyDeepseek, tinyGptOss, type TinyModel } from "../support/quantised-models.ts";
import { findSoftwareGpu } from "../support/software-gpu.ts";

const gpu = findSoftwareGpu();
const skip = "skip" in gpu ? gpu.skip : undefined;

interface Case {
	readonly name: string;
	readonly model: TinyModel;
	readonly workers: number;
	readonly flags: readonly string[];
}

// Little memory and odd cuts: many batches, shards that begin inside words and inside blocks.
const CASES: readonly Case[] = [
	{
		name: "Llama 3, whose rows RoPE permutes, cut by columns",
		model: withValues(smallLlama3(), "bfloat16"),
		workers: 1,
		flags: ["--dp-shard=2", "--tp=2"],
	},
	{
		name: "Llama 4, transposed experts, as float32",
		model: withValues(smallLlama4("text"), "bfloat16"),
		workers: 4,
		flags: ["--dp-shard=2", "--tp=2", "--dtype=float32"],
	},
	{
		name: "Llama 4 of float16, NaN among it, as bfloat16",
		model: withValues(smallLlama4("text"), "float16"),
		workers: 1,
		flags: ["--dp-shard=3", "--dtype=bfloat16"],
	},
	{
		name: "FP8 in blocks",
		model: tinyDeepseek(),
		workers: 4,
		flags: ["--dp-shard=2", "--tp=2", "--ep=4"],
	},
	{
		name: "MXFP4, transposed experts, as float32",
		model: tinyGptOss(),
		workers: 4,
		flags: ["--dp-shard=8", "--tp=2", "--dtype=float32"],
	},
	{
		name: "MXFP4 under the names of a bf16 export",
		model: tinyGptOss(),
		workers: 1,
		flags: ["--dp-shard=3", "--target=hf"],
	},
];

describe.skipIf(skip !== undefined)(
	`conversions on a GPU in software${skip === undefined ? "" : `: ${skip}`}`,
	() => {
		let root = "";

		beforeAll(() => {
			root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-gpu-"));
		});
		afterAll(() => {
			rmSync(root, { recursive: true });
		});

		test.each(CASES)("$name: the bytes of the CPU", async ({ name, model, workers, flags }) => {
			const folder = join(root, name);
			const repo = await writeModel(join(folder, "model"), model);
			const run = async (device: string): Promise<GpuRun> => {
				const out = join(folder, device);
				const args = [repo, "--out", out, `--device=${device}`, "--memory=16MiB", ...flags];
				// Nobody does what is another's, so that every worker has work for its device.
				const many = workers === 1 ? [] : [`--workers=${workers}`, "--no-takeover"];
				const result = await runOnGpu({ args: [...args, "--threads=1", ...many], folder });
				expect(warningsOf(result)).toEqual([]);
				return result;
			};
			const onCpu = await run("cpu");
			const onGpu = await run("webgpu");
			expect(fingerprint(join(folder, "webgpu"))).toEqual(fingerprint(join(folder, "cpu")));
			for (const thread of threadsOf(onCpu)) expect(thread.gpu).toBeUndefined();
			expect(summariesOf(onGpu)).toHaveLength(workers);
			const threads = threadsOf(onGpu);
			expect(threads.length).toBeGreaterThanOrEqual(workers);
			for (const thread of threads) {
				expect(thread.backend).toMatch(/^webgpu \(.*swiftshader/i);
				expect(thread.gpu).toMatchObject({ redone: 0, reasons: [], steadyBuffers: 0 });
				// A checkpoint that the CPU made in silence has the same bytes.
				expect(thread.gpu?.batches).toBeGreaterThan(0);
			}
		});
	},
);
