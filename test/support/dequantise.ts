import type { Box } from "../../src/core/box.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type { Expr } from "../../src/core/expr.ts";
import type { DequantPiece, ReshardBackend } from "../../src/core/ports.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../../src/core/quantisation.ts";
import { pull } from "../../src/plan/pull.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runOps } from "./run-ops.ts";

/** Which kernels run. */
interface How {
	readonly simd: boolean;
}

/** Memory that all of one kind of kernels share: it is never given back. */
const MEMORY_BYTES = 64 * 2 ** 20;
const machines = new Map<boolean, { backend: ReshardBackend; memory: Uint8Array }>();

function machineOf({ simd }: How): { backend: ReshardBackend; memory: Uint8Array } {
	const known = machines.get(simd);
	if (known !== undefined) return known;
	const backend = createCpuBackend({ simd });
	const machine = { backend, memory: backend.allocate(MEMORY_BYTES) };
	machines.set(simd, machine);
	return machine;
}

/** The bytes that pieces make of all bytes of their two source tensors. */
export async function runDequantPieces(
	pieces: readonly DequantPiece[],
	codes: Uint8Array,
	scales: Uint8Array,
	targetBytes: number,
	how: How,
): Promise<Uint8Array> {
	const { backend, memory } = machineOf(how);
	const scalesAt = align(codes.length);
	const targetAt = scalesAt + align(scales.length);
	if (targetAt + targetBytes > memory.length) throw new Error("too much at once");
	memory.set(codes, 0);
	memory.set(scales, scalesAt);
	const ops = pieces.map((piece) => ({
		piece,
		stagingOffset: Math.floor((piece.sourceOffset * ELEMENT_BITS[piece.codec]) / 8),
		scaleStagingOffset: scalesAt + piece.scaleOffset * SCALE_BYTES[piece.scaleCodec],
	}));
	const target = memory.subarray(targetAt, targetAt + targetBytes);
	await runOps(backend, ops, memory.subarray(0, targetAt), target);
	// A Buffer would not copy.
	return Uint8Array.from(target);
}

function align(bytes: number): number {
	return Math.ceil(bytes / 16) * 16;
}

/** The bytes of a box of an expression over one quantised tensor. */
export async function dequantiseBox(
	expr: Expr,
	box: Box,
	codes: Uint8Array,
	scales: Uint8Array,
	how: How,
): Promise<Uint8Array> {
	const bytes = box.size.reduce((product, size) => product * size, itemBytes(expr.dtype));
	const pieces = pull(expr, box).filter((piece) => piece.kind === "dequant");
	return runDequantPieces(pieces, codes, scales, bytes, how);
}
