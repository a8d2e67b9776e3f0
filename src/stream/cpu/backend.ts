import { endianness } from "node:os";
import { invariant } from "../../core/errors.ts";
import type { DequantOp, ReshardBackend, ReshardOp } from "../../core/ports.ts";
import { type KernelAllocator, type KernelMemory, loadKernels } from "../wasm/kernels.ts";
import { runDequant } from "../wasm/run-dequant.ts";
import { runGather } from "../wasm/run-gather.ts";
import { cast } from "./cast.ts";
import { dequant } from "./dequant.ts";
import { fill } from "./fill.ts";
import { gather } from "./gather.ts";

/** Options of {@link createCpuBackend}. */
export interface CpuBackendOptions {
	/** Whether to use the WebAssembly kernels where there are any. Without them every byte is the same. @default true */
	readonly simd?: boolean | undefined;
}

/**
 * The back end that runs everywhere, on the calling thread: WebAssembly kernels with vectors on memory that it allocated itself,
 * and typed-array loops for what those do not take, on other memory, and where there is no WebAssembly.
 */
export function createCpuBackend(options: CpuBackendOptions = {}): ReshardBackend {
	// safetensors is little-endian, and so are typed arrays on every machine that trains models.
	invariant(endianness() === "LE", "the CPU back end needs a little-endian machine");
	let allocateForKernels: KernelAllocator | undefined =
		options.simd === false ? undefined : loadKernels();
	const memories = new WeakMap<ArrayBufferLike, KernelMemory>();
	return {
		get name() {
			return allocateForKernels === undefined ? "cpu" : "cpu (wasm simd)";
		},
		allocate(bytes) {
			const memory = allocateForKernels?.(bytes);
			if (memory === undefined) {
				allocateForKernels = undefined;
				// Not pooled, not zeroed: pages that nobody touches cost nothing.
				return Buffer.allocUnsafeSlow(bytes);
			}
			memories.set(memory.bytes.buffer, memory);
			return memory.bytes;
		},
		async load(staging) {
			return {
				async run(ops, target) {
					const isOne = staging.buffer === target.buffer;
					const memory = isOne ? memories.get(target.buffer) : undefined;
					for (const op of ops) runOp(op, memory, staging, target);
				},
				async [Symbol.asyncDispose]() {},
			};
		},
		async [Symbol.asyncDispose]() {},
	};
}

function runOp(
	op: ReshardOp,
	memory: KernelMemory | undefined,
	staging: Uint8Array,
	target: Uint8Array,
): void {
	if (isDequant(op)) {
		if (memory === undefined || !runDequant(memory, op, staging, target))
			dequant(op, staging, target);
		return;
	}
	const { piece, stagingOffset } = op;
	if (piece.kind === "fill") {
		fill(piece, target);
		return;
	}
	if (memory !== undefined && runGather(memory, piece, staging, stagingOffset, target)) return;
	checkIndexable(staging);
	checkIndexable(target);
	if (piece.sourceDtype === piece.targetDtype) gather(piece, staging, stagingOffset, target);
	else cast(piece, staging, stagingOffset, target);
}

function isDequant(op: ReshardOp): op is DequantOp {
	return op.piece.kind === "dequant";
}

/** The typed-array loops index memory with 31-bit integers. */
function checkIndexable(bytes: Uint8Array): void {
	invariant(bytes.length < 2 ** 31 - 4, "the CPU back end works on less than 2 GiB at a time");
}
