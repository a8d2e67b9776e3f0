import { readFileSync } from "node:fs";
import type { Dtype } from "../../core/dtype.ts";
import type { DequantDtype, ElementCodec, ScaleCodec } from "../../core/quantisation.ts";

/** What the module exports; `assembly/` says what each does. Addresses, strides and counts are unsigned 32-bit numbers. */
export interface Kernels {
	readonly copyRuns: (
		target: number,
		source: number,
		runBytes: number,
		planes: number,
		planeTarget: number,
		planeSource: number,
		rows: number,
		rowTarget: number,
		rowSource: number,
	) => void;
	readonly castRuns: (
		conversion: number,
		target: number,
		source: number,
		count: number,
		planes: number,
		planeTarget: number,
		planeSource: number,
		rows: number,
		rowTarget: number,
		rowSource: number,
		scratch: number,
	) => void;
	readonly transpose: (
		conversion: number,
		target: number,
		source: number,
		rows: number,
		rowTarget: number,
		columns: number,
		columnSource: number,
		scratch: number,
	) => void;
	readonly dequantPlanes: (
		format: number,
		scaleCodec: number,
		target: number,
		source: number,
		scales: number,
		count: number,
		planes: number,
		planeTarget: number,
		planeSource: number,
		planeScales: number,
		rows: number,
		rowTarget: number,
		rowSource: number,
		rowScales: number,
		scratch: number,
	) => void;
	readonly dequantTransposed: (
		format: number,
		scaleCodec: number,
		target: number,
		source: number,
		scales: number,
		rows: number,
		rowTarget: number,
		runRows: number,
		runScales: number,
		columns: number,
		columnSource: number,
		columnScales: number,
		scratch: number,
	) => void;
}

/** The numbers of `castRuns` and `transpose` for casts, by source and target dtype. */
export const CONVERSIONS: {
	readonly [From in Dtype]?: { readonly [To in Dtype]?: number };
} = {
	bfloat16: { float32: 0, float16: 4 },
	float32: { bfloat16: 1, float16: 3 },
	float16: { float32: 2, bfloat16: 5 },
};

/** The number of `transpose` for elements of 1, 2, 4 or 8 bytes that keep their bits, at the index of that size. */
export const KEEPING_BITS: readonly (number | undefined)[] = [
	undefined,
	6,
	7,
	undefined,
	8,
	undefined,
	undefined,
	undefined,
	9,
];

/** The numbers of `dequantPlanes` and `dequantTransposed` for what they read and write. */
export const DEQUANT_FORMATS: {
	readonly [C in ElementCodec]: { readonly [To in DequantDtype]: number };
} = {
	float8_e4m3fn: { float32: 0, bfloat16: 1, float16: 2 },
	float8_e5m2: { float32: 3, bfloat16: 4, float16: 5 },
	float4_e2m1: { float32: 6, bfloat16: 7, float16: 8 },
};

/** The numbers of the same for how scales are encoded. */
export const SCALE_CODECS: { readonly [C in ScaleCodec]: number } = {
	float32: 0,
	bfloat16: 1,
	float16: 2,
	float8_e8m0fnu: 3,
	power_of_two: 4,
};

/** Memory that the kernels work on. */
export interface KernelMemory {
	readonly kernels: Kernels;
	/** All that was asked for, page aligned. */
	readonly bytes: Uint8Array;
	/** Address, behind {@link bytes}, of memory that the kernels use while they run. */
	readonly scratch: number;
}

/** The unit that WebAssembly memory is made of. One such page holds the scratch memory of every kernel. */
const PAGE_BYTES = 64 * 1024;

/** Part of WebAssembly's interface: @types/node declares none of it, and the browser's types would declare far more. */
interface WebAssemblyInterface {
	readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => {
		readonly buffer: ArrayBuffer;
	};
	readonly Module: new (bytes: Uint8Array) => object;
	readonly Instance: new (
		module: object,
		imports: { readonly env: { readonly memory: object } },
	) => { readonly exports: unknown };
}

/** Absent when Node runs without a compiler (`--jitless`). */
const { WebAssembly } = globalThis as { readonly WebAssembly?: WebAssemblyInterface };

/** Makes memory of any size together with the kernels that work on it; `undefined` when there is no address space for it. */
export type KernelAllocator = (bytes: number) => KernelMemory | undefined;

/** Loads the kernels; `undefined` where this Node or processor has no WebAssembly or none with vectors. */
export function loadKernels(): KernelAllocator | undefined {
	if (WebAssembly === undefined) return undefined;
	const { Memory, Module, Instance } = WebAssembly;
	const code = readFileSync(new URL("./kernels.wasm", import.meta.url));
	let module: object;
	try {
		module = new Module(code);
	} catch {
		return undefined;
	}
	return (bytes) => {
		const pages = Math.ceil(bytes / PAGE_BYTES);
		try {
			// Pages that nobody touches cost address space alone.
			const memory = new Memory({ initial: pages + 1, maximum: pages + 1 });
			const instance = new Instance(module, { env: { memory } });
			return {
				kernels: instance.exports as Kernels,
				bytes: new Uint8Array(memory.buffer, 0, bytes),
				scratch: pages * PAGE_BYTES,
			};
		} catch (error) {
			if (error instanceof RangeError) return undefined;
			throw error;
		}
	};
}
