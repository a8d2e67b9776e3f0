import { createHash } from "node:crypto";
import type { ReshardOp } from "../../core/ports.ts";
import { createCpuBackend } from "../cpu/backend.ts";
import type { Gpu } from "./gpu.ts";
import { asGpuFailure } from "./gpu-failure.ts";
import type { KernelName } from "./job-table.ts";
import { ANSWER_CASES, type AnswerCase, SELF_TEST_BYTES, stagingBytes } from "./known-answers.ts";
import { createWindowRunner, type WindowRunner } from "./window-runner.ts";

/** What came of trying one kernel. */
export interface KernelResult {
	readonly kernel: KernelName;
	readonly ok: boolean;
	/** What was wrong, when it was. */
	readonly detail?: string | undefined;
}

/** Runs every kernel of a device on known answers. A device that fails on the way fails all that is left. */
export async function selfTest(gpu: Gpu): Promise<readonly KernelResult[]> {
	try {
		const sizes = { tileBytes: SELF_TEST_BYTES, windowBytes: SELF_TEST_BYTES };
		return await runSelfTest(await createWindowRunner(gpu, sizes));
	} catch (error) {
		const detail = asGpuFailure(error).message;
		return ANSWER_CASES.map(({ kernel }) => ({ kernel, ok: false, detail }));
	}
}

/** As {@link selfTest}, in the buffers that will be used: they hold {@link SELF_TEST_BYTES} at least. */
export async function runSelfTest(runner: WindowRunner): Promise<readonly KernelResult[]> {
	const staging = stagingBytes();
	const results: KernelResult[] = [];
	for (const answer of ANSWER_CASES) {
		const detail = await tryKernel(runner, staging, answer);
		results.push({ kernel: answer.kernel, ok: detail === undefined, detail });
	}
	runner.forget(staging);
	return results;
}

/** One sentence about the kernels that did not pass; `undefined` when all did. */
export function failedKernels(results: readonly KernelResult[]): string | undefined {
	const failed = results.filter(({ ok }) => !ok);
	if (failed.length === 0) return undefined;
	return failed.map(({ kernel, detail }) => `${kernel} (${detail ?? "wrong bytes"})`).join(", ");
}

async function tryKernel(
	runner: WindowRunner,
	staging: Uint8Array,
	{ kernel, ops, targetBytes, sha256 }: AnswerCase,
): Promise<string | undefined> {
	const expected = await onCpu(ops, staging, targetBytes);
	if (digestOf(expected) !== sha256) return "the CPU itself gives other bytes than it should";
	const made = new Uint8Array(targetBytes);
	try {
		const left = await runner.run({ staging, ops, target: made, coversTarget: true });
		if (left.length > 0)
			return `${left.length} of ${ops.length} pieces were not taken by ${kernel}`;
	} catch (error) {
		return asGpuFailure(error).message;
	}
	const wrong = made.findIndex((byte, index) => byte !== expected[index]);
	if (wrong < 0) return undefined;
	return `byte ${wrong} of ${targetBytes} is ${made[wrong]} and not ${expected[wrong]}`;
}

async function onCpu(
	ops: readonly ReshardOp[],
	staging: Uint8Array,
	targetBytes: number,
): Promise<Uint8Array> {
	await using cpu = createCpuBackend({ simd: false });
	await using source = await cpu.load(staging);
	const target = new Uint8Array(targetBytes);
	await source.run(ops, target);
	return target;
}

/** How the answers are written down. */
export function digestOf(bytes: Uint8Array): string {
	return createHash("sha256").update(bytes).digest("hex");
}
