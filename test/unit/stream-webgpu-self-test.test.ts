import { describe, expect, test } from "vitest";
import { itemBytes } from "../../src/core/dtype.ts";
import type { DequantOp, ReshardOp } from "../../src/core/ports.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { encodeJobs } from "../../src/stream/webgpu/encode-jobs.ts";
import { GpuFailure } from "../../src/stream/webgpu/gpu-failure.ts";
import { JOB_WORDS, KERNELS } from "../../src/stream/webgpu/job-table.ts";
import {
	ANSWER_CASES,
	SELF_TEST_BYTES,
	stagingBytes,
} from "../../src/stream/webgpu/known-answers.ts";
import { spansOf } from "../../src/stream/webgpu/op-spans.ts";
import { digestOf, failedKernels, runSelfTest } from "../../src/stream/webgpu/self-test.ts";
import type { WindowRunner, WindowTask } from "../../src/stream/webgpu/window-runner.ts";
import { runNaively } from "../support/naive-pieces.ts";

/** Byte of the staging memory where the tensors of an op begin. */
function basesOf(op: ReshardOp): { elements: number; scales: number } {
	const { piece, stagingOffset } = op;
	if (piece.kind === "fill") throw new Error("a fill has no source");
	if (piece.kind === "gather") {
		const elements = stagingOffset - piece.sourceOffset * itemBytes(piece.sourceDtype);
		return { elements, scales: 0 };
	}
	const perByte = piece.codec === "float4_e2m1" ? 2 : 1;
	const elements = stagingOffset - Math.floor(piece.sourceOffset / perByte);
	return { elements, scales: (op as DequantOp).scaleStagingOffset };
}

/** A device that does everything right, but for what `spoil` does to the target. */
function runnerOf(spoil: (target: Uint8Array, task: WindowTask) => void): WindowRunner {
	const cpu = createCpuBackend();
	return {
		batches: 0,
		steadyBuffers: 0,
		async run(task) {
			const source = await cpu.load(task.staging);
			await source.run(task.ops, task.target);
			spoil(task.target, task);
			return [];
		},
		forget() {},
	};
}

describe("known answers", () => {
	test.each(ANSWER_CASES)("$kernel: the digest is that of the definition", (answer) => {
		const staging = stagingBytes();
		const target = new Uint8Array(answer.targetBytes);
		for (const op of answer.ops) {
			const { elements, scales } = basesOf(op);
			runNaively(
				op.piece,
				(source, offset, bytes) => {
					const start = (source === "s" ? scales : elements) + offset;
					return staging.subarray(start, start + bytes);
				},
				target,
			);
		}
		expect(digestOf(target)).toBe(answer.sha256);
	});

	test("there is one for every kernel, which takes all of it, within the bounds", () => {
		expect(ANSWER_CASES.map(({ kernel }) => kernel)).toEqual(KERNELS);
		for (const { kernel, ops, targetBytes } of ANSWER_CASES) {
			const encoded = encodeJobs(ops, new Uint32Array(64 * JOB_WORDS));
			expect(encoded.rest).toEqual([]);
			expect(encoded.dispatches.map((dispatch) => dispatch.kernel)).toEqual([kernel]);
			expect(targetBytes).toBeLessThanOrEqual(SELF_TEST_BYTES);
			const ends = ops.flatMap((op) => spansOf(op).map(({ end }) => end));
			expect(Math.max(...ends)).toBeLessThanOrEqual(SELF_TEST_BYTES);
		}
	});
});

describe("runSelfTest", () => {
	test("passes a device whose kernels are right", async () => {
		const results = await runSelfTest(runnerOf(() => {}));
		expect(results).toEqual(KERNELS.map((kernel) => ({ kernel, ok: true, detail: undefined })));
		expect(failedKernels(results)).toBeUndefined();
	});

	test("one wrong bit anywhere fails the kernel, and only that", async () => {
		const bad = ANSWER_CASES[3]!;
		const results = await runSelfTest(
			runnerOf((target, { ops }) => {
				if (ops === bad.ops) target[target.length - 1]! ^= 1;
			}),
		);
		expect(results.filter(({ ok }) => !ok).map(({ kernel }) => kernel)).toEqual([bad.kernel]);
		expect(failedKernels(results)).toMatch(
			new RegExp(`^${bad.kernel} \\(byte ${bad.targetBytes - 1} of ${bad.targetBytes} is `),
		);
	});

	test("a device that fails, fails the test: nothing is thrown", async () => {
		const runner: WindowRunner = {
			...runnerOf(() => {}),
			async run() {
				throw new GpuFailure("lost", "gone");
			},
		};
		const results = await runSelfTest(runner);
		expect(results).toEqual(KERNELS.map((kernel) => ({ kernel, ok: false, detail: "gone" })));
	});

	test("pieces that a kernel does not take fail the kernel", async () => {
		const runner: WindowRunner = { ...runnerOf(() => {}), run: async ({ ops }) => ops };
		const results = await runSelfTest(runner);
		expect(results.every(({ ok }) => !ok)).toBe(true);
		expect(failedKernels(results)).toContain("move8 (2 of 2 pieces were not taken by move8)");
	});
});
