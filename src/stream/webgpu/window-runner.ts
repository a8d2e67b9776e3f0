import { itemBytes } from "../../core/dtype.ts";
import { invariant } from "../../core/errors.ts";
import type { GatherPiece, ReshardOp } from "../../core/ports.ts";
import { gather } from "../cpu/gather.ts";
import { createPool } from "../pool.ts";
import { type Batch, type Batches, planBatches } from "./batches.ts";
import { Coverage } from "./coverage.ts";
import { dispatchParams, type EncodedJobs, encodeJobs } from "./encode-jobs.ts";
import { type Gpu, MAP } from "./gpu.ts";
import { asGpuFailure, GpuFailure } from "./gpu-failure.ts";
import { JOB_WORDS } from "./job-table.ts";
import { createPipelines, type Pipelines } from "./pipelines.ts";
import { createPools, type GpuPools, type GpuSizes, MAX_JOBS, PARAM_STRIDE } from "./pools.ts";
import { createUploader, type Uploader } from "./uploader.ts";

/** A window to make. */
export interface WindowTask {
	/** The staging memory; as the same object it is not uploaded again, unless it was forgotten. */
	readonly staging: Uint8Array;
	readonly ops: readonly ReshardOp[];
	readonly target: Uint8Array;
	/** Whether these ops, and others that are run after them, write every byte of `target`: what lies there may be lost. */
	readonly coversTarget: boolean;
}

/** Makes windows on one device, one after the other. */
export interface WindowRunner {
	/** Submitted so far. */
	readonly batches: number;
	/** Buffers that were created after the first batch. */
	readonly steadyBuffers: number;
	/**
	 * Runs what a device can do. Nothing is written to `target` before it is certain to be what the ops make.
	 *
	 * @returns ops that are still to be done, for which there is no kernel, or no room.
	 * @throws {GpuFailure} `target` is as it was then.
	 */
	run(task: WindowTask): Promise<readonly ReshardOp[]>;
	/** Says that staging memory holds, or will hold, something else. */
	forget(staging: Uint8Array): void;
}

/** Where a batch stands among those of a window. */
interface Turn {
	readonly clears: boolean;
	/** The batch after which the window is read back, and how many bytes. */
	readonly readsBack: number | undefined;
}

/**
 * Allocates a device's buffers and compiles its kernels.
 *
 * @throws {GpuFailure}
 */
export async function createWindowRunner(gpu: Gpu, sizes: GpuSizes): Promise<WindowRunner> {
	const pools = await createPools(gpu, sizes);
	return new DeviceRunner(gpu, pools, await createPipelines(gpu, pools));
}

class DeviceRunner implements WindowRunner {
	readonly #gpu: Gpu;
	readonly #pools: GpuPools;
	readonly #pipelines: Pipelines;
	readonly #uploader: Uploader;
	readonly #turns = createPool([true]);
	readonly #table = new Uint32Array(MAX_JOBS * JOB_WORDS);
	readonly #params: Uint32Array<ArrayBuffer>;
	/** What lies in the source buffer, at its own offsets. */
	#resident: Uint8Array | undefined;
	readonly #coverage = new Coverage();
	#batches = 0;
	#firstBuffers: number | undefined;

	constructor(gpu: Gpu, pools: GpuPools, pipelines: Pipelines) {
		this.#gpu = gpu;
		this.#pools = pools;
		this.#pipelines = pipelines;
		this.#uploader = createUploader(gpu, pools);
		this.#params = new Uint32Array(pools.params.size / 4);
	}

	get batches(): number {
		return this.#batches;
	}

	get steadyBuffers(): number {
		return this.#firstBuffers === undefined ? 0 : this.#gpu.buffers - this.#firstBuffers;
	}

	forget(staging: Uint8Array): void {
		if (this.#resident === staging) this.#resident = undefined;
	}

	async run(task: WindowTask): Promise<readonly ReshardOp[]> {
		const turn = await this.#turns.acquire();
		try {
			if (this.#gpu.failure !== undefined) throw this.#gpu.failure;
			const { sourceBytes, windowBytes } = this.#pools.sizes;
			if (task.target.length > windowBytes) return task.ops;
			return await this.#runPlanned(task, planBatches(task.ops, task.staging.length, sourceBytes));
		} catch (error) {
			// It is not known what was uploaded.
			this.#resident = undefined;
			throw this.#gpu.failure ?? asGpuFailure(error);
		} finally {
			this.#turns.release(turn);
		}
	}

	async #runPlanned(task: WindowTask, plan: Batches): Promise<readonly ReshardOp[]> {
		const { staging, target } = task;
		const left = [...plan.tooLarge];
		const made: ReshardOp[] = [];
		const checks: Promise<void>[] = [];
		const words = Math.ceil(target.length / 4);
		for (const [index, batch] of plan.batches.entries()) {
			const isLast = index === plan.batches.length - 1;
			const encoded = encodeJobs(batch.ops, this.#table);
			const rest = new Set(encoded.rest);
			batch.ops.forEach((op, i) => {
				const original = batch.originals[i];
				if (original !== undefined) (rest.has(op) ? left : made).push(original);
			});
			if (encoded.jobs === 0 && plan.batches.length === 1) return left;
			checks.push(...(await this.#bring(staging, batch, plan.isWhole)));
			const clears = plan.batches.length === 1 ? encoded.clear : index === 0;
			const readsBack = isLast ? words : undefined;
			const checked = this.#submit(encoded, { clears, readsBack }, words);
			checked.catch(() => {});
			checks.push(checked);
		}
		if (plan.batches.length === 0) return left;
		await this.#readBack(checks, words, (bytes) => {
			if (task.coversTarget) target.set(bytes.subarray(0, target.length));
			else for (const op of made) copyMade(op, bytes, target);
		});
		this.#firstBuffers ??= this.#gpu.buffers;
		return left;
	}

	/** Uploads what a batch reads and what is not there yet. */
	async #bring(
		staging: Uint8Array,
		{ spans }: Batch,
		isWhole: boolean,
	): Promise<readonly Promise<void>[]> {
		if (!isWhole) {
			this.#resident = undefined;
			return await this.#uploader.upload(staging, spans);
		}
		if (this.#resident !== staging) {
			this.#coverage.clear();
			this.#resident = staging;
		}
		const missing = spans.flatMap((span) => {
			const gaps = this.#coverage.missing(span);
			this.#coverage.add(span);
			return gaps.map((gap) => ({ ...gap, place: gap.start }));
		});
		return await this.#uploader.upload(staging, missing);
	}

	/** One batch: all of its jobs in one pass and one submission. */
	async #submit(encoded: EncodedJobs, turn: Turn, words: number): Promise<void> {
		const { device } = this.#gpu;
		const { table, params, target, readback } = this.#pools;
		const { dispatches, jobs } = encoded;
		this.#batches++;
		this.#params[0] = this.#batches;
		for (const [index, dispatch] of dispatches.entries()) {
			const bases = { sourceBase: 0, targetWord: 0, tableWord: 0 };
			this.#params.set(dispatchParams(dispatch, bases), ((1 + index) * PARAM_STRIDE) / 4);
		}
		await this.#gpu.guard(() => {
			device.queue.writeBuffer(table, 0, this.#table, 0, jobs * JOB_WORDS);
			device.queue.writeBuffer(params, 0, this.#params);
			const encoder = device.createCommandEncoder();
			if (turn.clears) encoder.clearBuffer(target, 0, words * 4);
			const pass = encoder.beginComputePass();
			for (const [index, { kernel, x, y }] of dispatches.entries()) {
				const pipeline = this.#pipelines.byKernel.get(kernel);
				invariant(pipeline !== undefined, `no kernel ${kernel}`);
				pass.setPipeline(pipeline);
				pass.setBindGroup(0, this.#pipelines.bindGroup, [(1 + index) * PARAM_STRIDE]);
				pass.dispatchWorkgroups(x, y);
			}
			pass.end();
			if (turn.readsBack !== undefined) {
				encoder.copyBufferToBuffer(target, 0, readback, 0, words * 4);
				encoder.copyBufferToBuffer(params, 0, readback, words * 4, 4);
			}
			device.queue.submit([encoder.finish()]);
		});
	}

	/**
	 * Gives `use` the finished window. A submission that was dropped leaves the bytes of an earlier one, without any error of the
	 * mapping: the batches' errors are looked at first, and the number behind the window after that.
	 */
	async #readBack(
		checks: readonly Promise<void>[],
		words: number,
		use: (bytes: Uint8Array) => void,
	): Promise<void> {
		const { readback } = this.#pools;
		const mapped = readback.mapAsync(MAP.read, 0, words * 4 + 4);
		mapped.catch(() => {});
		try {
			for (const check of checks) await check;
			await this.#gpu.watch(mapped);
			const bytes = new Uint8Array(readback.getMappedRange(0, words * 4 + 4));
			const stamp = new DataView(bytes.buffer, bytes.byteOffset).getUint32(words * 4, true);
			if (stamp !== this.#batches) {
				throw new GpuFailure("stale", `batch ${this.#batches} was asked for, and ${stamp} came`);
			}
			use(bytes);
		} finally {
			readback.unmap();
		}
	}
}

/** Copies what one op made to where it belongs, and nothing else. */
function copyMade({ piece }: ReshardOp, made: Uint8Array, target: Uint8Array): void {
	const { targetDtype: dtype, targetOffset } = piece;
	const dims: readonly { readonly size: number; readonly targetStride: number }[] = piece.dims;
	const copy: GatherPiece = {
		kind: "gather",
		source: "",
		sourceDtype: dtype,
		targetDtype: dtype,
		sourceOffset: targetOffset,
		targetOffset,
		dims: dims.map(({ size, targetStride }) => ({
			size,
			sourceStride: targetStride,
			targetStride,
		})),
	};
	gather(copy, made, targetOffset * itemBytes(dtype), target);
}
