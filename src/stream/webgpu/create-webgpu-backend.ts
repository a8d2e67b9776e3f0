import type { GpuCounters } from "../../core/device.ts";
import { HfStreamDcpError } from "../../core/errors.ts";
import type { LoadedStaging, ReshardBackend, ReshardOp } from "../../core/ports.ts";
import { createCpuBackend } from "../cpu/backend.ts";
import type { Gpu } from "./gpu.ts";
import { asGpuFailure, type GpuFailure, type GpuFailureKind } from "./gpu-failure.ts";
import { openGpu } from "./open-device.ts";
import { targetBytesOf } from "./op-spans.ts";
import { SELF_TEST_BYTES } from "./known-answers.ts";
import { DEFAULT_TILE_BYTES, DEFAULT_WINDOW_BYTES, type GpuSizes } from "./pools.ts";
import { failedKernels, runSelfTest } from "./self-test.ts";
import { createWindowRunner, type WindowRunner } from "./window-runner.ts";

/** Options of {@link createWebgpuBackend}. */
export interface WebgpuBackendOptions extends GpuSizes {
	/** Told once for each kind of failure after which the CPU does the work, one sentence. */
	readonly onTrouble: (reason: string) => void;
	/** Which ops the GPU is for; the CPU does the others. @default those that there are kernels for */
	readonly wants?: ((op: ReshardOp) => boolean) | undefined;
	/** A part of the name of the device to use. */
	readonly adapter?: string | undefined;
}

/** A back end that counts what the GPU does. */
export interface WebgpuBackend extends ReshardBackend {
	readonly gpu: GpuCounters;
}

/**
 * Opens a GPU, tries every kernel of it on known answers, and makes a back end of it. Whatever the device does not do, or fails at,
 * the CPU does in the same memory, so that the bytes are the same and a failure costs time only.
 *
 * Native code runs that can end the process.
 *
 * @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` when there is no GPU, or when it does not pass.
 */
export async function createWebgpuBackend(options: WebgpuBackendOptions): Promise<WebgpuBackend> {
	const gpu = await openGpu(options);
	try {
		const runner = await createWindowRunner(gpu, roomForSelfTest(options));
		const failed = failedKernels(await runSelfTest(runner));
		if (failed !== undefined) throw refused(gpu, `fails its self-test: ${failed}`);
		return createFallbackBackend({ ...options, gpu, runner, cpu: createCpuBackend() });
	} catch (error) {
		await gpu[Symbol.asyncDispose]();
		if (error instanceof HfStreamDcpError) throw error;
		throw refused(gpu, `cannot be used: ${asGpuFailure(error).message}`);
	}
}

/** The buffers in which the kernels are tried are those that will be used. */
function roomForSelfTest(sizes: GpuSizes): GpuSizes {
	const { tileBytes = DEFAULT_TILE_BYTES, windowBytes = DEFAULT_WINDOW_BYTES } = sizes;
	return {
		tileBytes: Math.max(tileBytes, SELF_TEST_BYTES),
		windowBytes: Math.max(windowBytes, SELF_TEST_BYTES),
	};
}

function refused(gpu: Gpu, what: string): HfStreamDcpError {
	return new HfStreamDcpError("DEVICE_UNAVAILABLE", `the GPU ${gpu.name} ${what}`, {
		hint: "Use --device cpu; hf-stream-dcp doctor tells more.",
		facts: { step: "self-test", adapter: gpu.name },
	});
}

/** What {@link createFallbackBackend} puts together. */
export interface FallbackOptions extends Pick<WebgpuBackendOptions, "onTrouble" | "wants"> {
	/** Closed with the back end. */
	readonly gpu: Pick<Gpu, "name" | "buffers" | "failure"> & AsyncDisposable;
	readonly runner: WindowRunner;
	readonly cpu: ReshardBackend;
}

/**
 * A back end that gives windows to `runner` and what that does not do to `cpu`. A window that fails is made on the CPU from the staging
 * memory, which is still there. After a failure of the device it is not used again; after one of a batch, not for such ops.
 */
export function createFallbackBackend(options: FallbackOptions): WebgpuBackend {
	const { gpu, runner, cpu, onTrouble, wants = () => true } = options;
	const batchesBefore = runner.batches;
	const refusedKinds = new Set<OpKind>();
	const reasons = new Map<GpuFailureKind, string>();
	let redone = 0;

	function isForGpu(op: ReshardOp): boolean {
		const kind = kindOf(op);
		return kind !== "fill" && !refusedKinds.has(kind) && gpu.failure === undefined && wants(op);
	}

	function tell(failure: GpuFailure, ops: readonly ReshardOp[]): void {
		if (reasons.has(failure.kind)) return;
		const what = failure.isFinal ? "everything" : [...new Set(ops.map(kindOf))].join(" and ");
		const reason = `${failure.message}; the CPU does ${what} from here on`;
		reasons.set(failure.kind, reason);
		onTrouble(reason);
	}

	function note(failure: GpuFailure, ops: readonly ReshardOp[]): void {
		redone++;
		if (!failure.isFinal) for (const op of ops) refusedKinds.add(kindOf(op));
		tell(failure, ops);
	}

	async function runBoth(
		source: LoadedStaging,
		staging: Uint8Array,
		ops: readonly ReshardOp[],
		target: Uint8Array,
	): Promise<void> {
		// It may have failed while nobody waited for it.
		if (gpu.failure !== undefined) tell(gpu.failure, ops);
		const chosen = ops.filter(isForGpu);
		if (chosen.length === 0) {
			await source.run(ops, target);
			return;
		}
		const bytes = ops.reduce((sum, op) => sum + targetBytesOf(op), 0);
		const coversTarget = bytes === target.length;
		let left: readonly ReshardOp[];
		try {
			left = await runner.run({ staging, ops: chosen, target, coversTarget });
		} catch (error) {
			note(asGpuFailure(error), chosen);
			await source.run(ops, target);
			return;
		}
		const given = new Set(chosen);
		const others = ops.filter((op) => !given.has(op));
		if (others.length + left.length > 0) await source.run([...others, ...left], target);
	}

	return {
		name: `webgpu (${gpu.name})`,
		allocate: (bytes) => cpu.allocate(bytes),
		async load(staging) {
			runner.forget(staging);
			const source = await cpu.load(staging);
			return {
				run: async (ops, target) => await runBoth(source, staging, ops, target),
				async [Symbol.asyncDispose]() {
					runner.forget(staging);
					await source[Symbol.asyncDispose]();
				},
			};
		},
		get gpu() {
			return {
				device: gpu.name,
				batches: runner.batches - batchesBefore,
				redone,
				reasons: [...reasons.values()],
				buffers: gpu.buffers,
				steadyBuffers: runner.steadyBuffers,
			};
		},
		async [Symbol.asyncDispose]() {
			await gpu[Symbol.asyncDispose]();
			await cpu[Symbol.asyncDispose]();
		},
	};
}

/** What ops have in common for which a device may lack memory. */
type OpKind = "copies" | "casts" | "dequantisation" | "fill";

function kindOf({ piece }: ReshardOp): OpKind {
	if (piece.kind === "fill") return "fill";
	if (piece.kind === "dequant") return "dequantisation";
	return piece.sourceDtype === piece.targetDtype ? "copies" : "casts";
}
