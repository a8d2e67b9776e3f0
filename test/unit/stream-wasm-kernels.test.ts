import { beforeAll, describe, expect, test } from "vitest";
import { itemBytes } from "../../src/core/dtype.ts";
import type { GatherPiece, PieceDim } from "../../src/core/ports.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { type CastDtype, converter } from "../../src/stream/cpu/float-bits.ts";
import { viewAs } from "../../src/stream/cpu/elements.ts";
import { type KernelMemory, loadKernels } from "../../src/stream/wasm/kernels.ts";
import { runGather } from "../../src/stream/wasm/run-gather.ts";
import { float32Patterns } from "../support/float32-patterns.ts";
import { randomBytes } from "../support/random.ts";
import { runOps } from "../support/run-ops.ts";

const BYTES = 4 * 2 ** 20;

let memory: KernelMemory;
beforeAll(() => {
	const loaded = loadKernels()?.(BYTES);
	if (loaded === undefined)
		throw new Error("no kernels: this Node has no WebAssembly with vectors");
	memory = loaded;
});

const DTYPES: readonly CastDtype[] = ["float32", "float16", "bfloat16"];
const CASTS = DTYPES.flatMap((from) =>
	DTYPES.filter((to) => to !== from).map((to) => [from, to] as const),
);

function piece(from: CastDtype, to: CastDtype, dims: readonly PieceDim[]): GatherPiece {
	const dtypes = { sourceDtype: from, targetDtype: to };
	return { kind: "gather", source: "s", ...dtypes, sourceOffset: 0, targetOffset: 0, dims };
}

/** 1.0, which takes the short way wherever there is one. */
const ONE = { float32: 0x3f800000, float16: 0x3c00, bfloat16: 0x3f80 } as const;

/** Every pattern in a row, and then every pattern alone among ordinary numbers: vectors of one kind take other ways than mixed ones. */
function patternsOf(dtype: CastDtype): number[] {
	const patterns =
		dtype === "float32"
			? [...float32Patterns()]
			: Array.from({ length: 0x10000 }, (_, bits) => bits);
	const alone = patterns.flatMap((bits, i) =>
		Array.from({ length: 8 }, (_, lane) => (lane === i % 8 ? bits : ONE[dtype])),
	);
	return [...patterns, ...alone];
}

describe("casts of every pattern are bit for bit those of the typed-array loops", () => {
	test.each(CASTS)("%s to %s", (from, to) => {
		const patterns = patternsOf(from);
		const width = itemBytes(from);
		const staging = memory.bytes.subarray(0, BYTES / 2);
		const target = memory.bytes.subarray(BYTES / 2);
		const unit = (dtype: CastDtype): 2 | 4 => (itemBytes(dtype) === 4 ? 4 : 2);
		const batch = BYTES / 2 / 4;
		const convert = converter(from, to);
		const wrong: number[] = [];
		for (let first = 0; first < patterns.length; first += batch) {
			const some = patterns.slice(first, first + batch);
			viewAs(staging, unit(from)).set(some);
			const dims = [{ size: some.length, sourceStride: 1, targetStride: 1 }];
			const source = staging.subarray(0, some.length * width);
			expect(runGather(memory, piece(from, to, dims), source, 0, target)).toBe(true);
			const results = viewAs(target, unit(to)).subarray(0, some.length);
			wrong.push(...some.filter((bits, i) => convert(bits) !== results[i]));
		}
		expect(wrong.slice(0, 10)).toEqual([]);
		expect(patterns.length).toBeGreaterThan(9 * 60_000);
	});
});

describe("the kernels take what checkpoints are made of", () => {
	const columnCut = [
		{ size: 6, sourceStride: 40, targetStride: 10 },
		{ size: 10, sourceStride: 1, targetStride: 1 },
	];
	const transposed = [
		{ size: 12, sourceStride: 1, targetStride: 9 },
		{ size: 9, sourceStride: 30, targetStride: 1 },
	];
	const rotary = [
		{ size: 3, sourceStride: 64, targetStride: 64 },
		{ size: 4, sourceStride: 8, targetStride: 16 },
		{ size: 2, sourceStride: 32, targetStride: 8 },
		{ size: 8, sourceStride: 1, targetStride: 1 },
	];
	test.each([
		["rows of a column cut", columnCut],
		["a transpose", transposed],
		["rows of heads", rotary],
		["a scalar", []],
	])("%s, copied and cast", (_, dims) => {
		const { bytes } = memory;
		for (const [from, to] of [...CASTS, ["bfloat16", "bfloat16"] as const]) {
			const args = [
				piece(from, to, dims),
				bytes.subarray(0, 4096),
				2,
				bytes.subarray(8192),
			] as const;
			expect(runGather(memory, ...args)).toBe(true);
		}
	});

	test("and leave strided single elements that change their type to the typed-array loops", () => {
		const dims = [{ size: 4, sourceStride: 3, targetStride: 2 }];
		const { bytes } = memory;
		const args = [bytes.subarray(0, 64), 0, bytes.subarray(64, 128)] as const;
		expect(runGather(memory, piece("float32", "float16", dims), ...args)).toBe(false);
		expect(runGather(memory, piece("float32", "float32", dims), ...args)).toBe(true);
	});
});

describe("rows of runs are copied whole, and nothing beside them", () => {
	const lengths = [1, 15, 16, 17, 63, 64, 100, 511, 512, 513, 600, 1024, 2047, 2048, 2049, 3000];
	test.each([...lengths, 32_767, 32_768, 33_001])("of %i bytes", (length) => {
		const rows = 7;
		const [from, to] = [length + 5, length + 3];
		const dims = [
			{ size: rows, sourceStride: from, targetStride: to },
			{ size: length, sourceStride: 1, targetStride: 1 },
		];
		const bytes = { sourceDtype: "uint8", targetDtype: "uint8" } as const;
		const offsets = { sourceOffset: 0, targetOffset: 0 };
		const before = randomBytes(rows * from + rows * to + 40, length);
		memory.bytes.set(before);
		const staging = memory.bytes.subarray(0, rows * from);
		const start = rows * from + 19;
		const target = memory.bytes.subarray(start, start + rows * to);
		const moved: GatherPiece = { kind: "gather", source: "s", ...bytes, ...offsets, dims };
		expect(runGather(memory, moved, staging, 0, target)).toBe(true);
		const expected = before.slice();
		for (let row = 0; row < rows; row++) {
			expected.set(before.subarray(row * from, row * from + length), start + row * to);
		}
		expect(Buffer.compare(memory.bytes.subarray(0, before.length), expected)).toBe(0);
	});
});

test("a piece that reaches outside of its memory is refused, on either side", () => {
	const dims = [{ size: 8, sourceStride: 1, targetStride: 1 }];
	const { bytes } = memory;
	const run = (sourceBytes: number, targetBytes: number): boolean => {
		const staging = bytes.subarray(0, sourceBytes);
		const target = bytes.subarray(64, 64 + targetBytes);
		return runGather(memory, piece("bfloat16", "bfloat16", dims), staging, 0, target);
	};
	expect(run(16, 16)).toBe(true);
	expect(() => run(15, 16)).toThrow(/outside/);
	expect(() => run(16, 15)).toThrow(/outside/);
});

describe("createCpuBackend", () => {
	test("allocates exactly what is asked for, page aligned, in memory of the kernels", () => {
		const backend = createCpuBackend();
		const bytes = backend.allocate(100_001);
		expect(backend.name).toBe("cpu (wasm simd)");
		expect([bytes.length, bytes.byteOffset]).toEqual([100_001, 0]);
	});

	test.each([true, false])(
		"works in memory near 4 GiB, beyond the 31 bits of a small integer (simd: %s)",
		async (simd) => {
			const backend = createCpuBackend({ simd });
			const bytes = backend.allocate(4095 * 2 ** 20);
			const staging = bytes.subarray(bytes.length - 4096, bytes.length - 2048);
			const target = bytes.subarray(bytes.length - 2048);
			staging.forEach((_, i) => (staging[i] = i * 7));
			const dims = [
				{ size: 32, sourceStride: 1, targetStride: 32 },
				{ size: 32, sourceStride: 32, targetStride: 1 },
			];
			const op = { piece: piece("bfloat16", "bfloat16", dims), stagingOffset: 0 };
			await runOps(backend, [op], staging, target);
			const wrong = target.findIndex((byte, i) => {
				const row = Math.floor(i / 64);
				const column = Math.floor((i % 64) / 2);
				return byte !== staging[(column * 32 + row) * 2 + (i % 2)];
			});
			expect(wrong).toBe(-1);
		},
	);

	test("without vectors there is plain memory, and plain loops", () => {
		const backend = createCpuBackend({ simd: false });
		expect(backend.allocate(5000).length).toBe(5000);
		expect(backend.name).toBe("cpu");
	});
});
