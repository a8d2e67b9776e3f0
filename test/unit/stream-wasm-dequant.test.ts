import { beforeAll, describe, expect, test } from "vitest";
import type { Box } from "../../src/core/box.ts";
import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import { cast, type Expr, permute, reshape, slice, source } from "../../src/core/expr.ts";
import type { DequantPiece } from "../../src/core/ports.ts";
import { pull } from "../../src/plan/pull.ts";
import { type KernelMemory, loadKernels } from "../../src/stream/wasm/kernels.ts";
import { runDequant } from "../../src/stream/wasm/run-dequant.ts";
import { runNaively } from "../support/naive-pieces.ts";
import { randomBytes } from "../support/random.ts";

const BYTES = 2 ** 18;
/** Where the elements and the scales of a case lie; the target lies in the second half. */
const ELEMENTS = 2 ** 10 + 1;
const SCALES = 2 ** 16 + 3;

let memory: KernelMemory;
beforeAll(() => {
	const loaded = loadKernels()?.(BYTES);
	if (loaded === undefined)
		throw new Error("no kernels: this Node has no WebAssembly with vectors");
	memory = loaded;
});

const fp8 = dequantFp8Block(
	source("w", "float8_e4m3fn", [75, 125]),
	source("s", "float32", [3, 4]),
	[32, 32],
);
const mxfp4 = dequantMxfp4(source("w", "uint8", [4, 32, 6, 16]), source("s", "uint8", [4, 32, 6]));

function whole({ shape }: Expr): Box {
	return { offset: shape.map(() => 0), size: shape };
}

function dequantPieces(expr: Expr, box: Box): readonly DequantPiece[] {
	return pull(expr, box).map((piece) => {
		if (piece.kind !== "dequant") throw new Error(`a ${piece.kind}`);
		return piece;
	});
}

/** Runs the kernels on a piece whose source tensors begin at {@link ELEMENTS} and {@link SCALES}. */
function run(piece: DequantPiece, targetBytes = BYTES / 2 - 1): boolean {
	const perByte = piece.codec === "float4_e2m1" ? 2 : 1;
	const scaleBytes = piece.scaleCodec === "float32" ? 4 : 1;
	const op = {
		piece,
		stagingOffset: ELEMENTS + Math.floor(piece.sourceOffset / perByte),
		scaleStagingOffset: SCALES + piece.scaleOffset * scaleBytes,
	};
	const target = memory.bytes.subarray(BYTES / 2 + 1).subarray(0, targetBytes);
	return runDequant(memory, op, memory.bytes.subarray(0, BYTES / 2), target);
}

describe("the kernels take what quantised checkpoints are made of", () => {
	test.each<[string, Expr, Box?]>([
		["blocks that are cut off", fp8],
		["a block of rows and columns", fp8, { offset: [10, 27], size: [50, 90] }],
		["a transpose of blocks", permute(fp8, [1, 0])],
		["rows of heads", permute(reshape(slice(fp8, 0, 0, 64), [2, 2, 16, 125]), [0, 2, 1, 3])],
		["experts", mxfp4],
		["an element", mxfp4, { offset: [3, 1, 4], size: [1, 1, 1] }],
		["transposed experts", permute(mxfp4, [0, 2, 1])],
		["a part of them", permute(mxfp4, [0, 2, 1]), { offset: [1, 10, 3], size: [2, 101, 27] }],
		[
			"every other row of them",
			slice(permute(reshape(mxfp4, [4, 16, 2, 192]), [0, 2, 3, 1]), 1, 0, 1),
		],
	])("%s, bit for bit", (_, expr, box) => {
		for (const dtype of ["bfloat16", "float32", "float16"] as const) {
			const value = cast(expr, dtype);
			const before = randomBytes(BYTES, 5);
			const expected = before.slice();
			memory.bytes.set(before);
			for (const piece of dequantPieces(value, box ?? whole(value))) {
				expect(run(piece)).toBe(true);
				const read = (name: string, offset: number, bytes: number): Uint8Array => {
					const start = (name === "w" ? ELEMENTS : SCALES) + offset;
					return before.subarray(start, start + bytes);
				};
				runNaively(piece, read, expected.subarray(BYTES / 2 + 1));
			}
			expect(Buffer.compare(memory.bytes, expected)).toBe(0);
		}
	});

	test("and leave single columns, and half bytes that do not begin one, to the typed-array loops", () => {
		const taken = (expr: Expr, offset: readonly number[], size: readonly number[]): boolean[] =>
			dequantPieces(cast(expr, "bfloat16"), { offset, size }).map((piece) => run(piece));
		expect(taken(fp8, [0, 3], [32, 1])).toEqual([false]);
		expect(taken(mxfp4, [0, 0, 1], [1, 1, 31])).toEqual([false]);
		expect(taken(mxfp4, [0, 0, 2], [1, 1, 29])).toEqual([true]);
	});
});

test("a piece that reaches outside of its memory is refused, on every side", () => {
	const value = cast(fp8, "bfloat16");
	const [piece] = dequantPieces(value, { offset: [0, 0], size: [32, 32] });
	if (piece === undefined) throw new Error("no piece");
	const bytes = 32 * 32 * 2;
	expect(run(piece, bytes)).toBe(true);
	expect(() => run(piece, bytes - 1)).toThrow(/outside/);
	const target = memory.bytes.subarray(BYTES / 2);
	const staging = memory.bytes.subarray(0, 31 * 125 + 32);
	const place = (stagingOffset: number, scaleStagingOffset: number) => ({
		piece,
		stagingOffset,
		scaleStagingOffset,
	});
	expect(runDequant(memory, place(0, staging.length - 4), staging, target)).toBe(true);
	expect(() => runDequant(memory, place(1, 0), staging, target)).toThrow(/outside/);
	expect(() => runDequant(memory, place(0, staging.length - 3), staging, target)).toThrow(
		/outside/,
	);
});
