import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { GatherPiece } from "../../src/core/ports.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import type { CastDtype } from "../../src/stream/cpu/float-bits.ts";
import { float32Patterns } from "../support/float32-patterns.ts";
import { findPython } from "../support/python.ts";
import { runOps } from "../support/run-ops.ts";

const search = findPython(["torch", "numpy"]);
const skip = "skip" in search ? search.skip : undefined;

const DTYPES: readonly CastDtype[] = ["float32", "float16", "bfloat16"];
const NAN: { readonly [D in CastDtype]: number } = {
	float32: 0x7fc00000,
	float16: 0x7e00,
	bfloat16: 0x7fc0,
};
const INFINITY: { readonly [D in CastDtype]: number } = {
	float32: 0x7f800000,
	float16: 0x7c00,
	bfloat16: 0x7f80,
};

function patternsOf(dtype: CastDtype): Uint32Array | Uint16Array {
	if (dtype === "float32") return Uint32Array.from(float32Patterns());
	return Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);
}

function asPatterns(bytes: Uint8Array, dtype: CastDtype): Uint32Array | Uint16Array {
	const own = Uint8Array.from(bytes);
	return dtype === "float32" ? new Uint32Array(own.buffer) : new Uint16Array(own.buffer);
}

describe.skipIf(skip !== undefined)(`casts against torch${skip ? ` (${skip})` : ""}`, () => {
	test.each(
		DTYPES.flatMap((from) =>
			DTYPES.filter((to) => to !== from).flatMap((to) =>
				[true, false].map((simd) => [from, to, simd] as const),
			),
		),
	)("%s to %s (simd: %s) has the bits of tensor.to, NaN aside", async (from, to, simd) => {
		const patterns = patternsOf(from);
		const input = new Uint8Array(patterns.buffer);
		const script = join(import.meta.dirname, "stream_cast.py");
		const python = "python" in search ? search.python : "";
		const { status, stdout, stderr } = spawnSync(python, [script, from, to], {
			input,
			maxBuffer: 2 ** 30,
		});
		expect(stderr.toString()).toBe("");
		expect(status).toBe(0);
		const theirs = asPatterns(stdout, to);
		const backend = createCpuBackend({ simd });
		const memory = backend.allocate(input.length + theirs.byteLength);
		const staging = memory.subarray(0, input.length);
		staging.set(input);
		const output = memory.subarray(input.length);
		const piece: GatherPiece = {
			kind: "gather",
			source: "s",
			sourceDtype: from,
			targetDtype: to,
			sourceOffset: 0,
			targetOffset: 0,
			dims: [{ size: patterns.length, sourceStride: 1, targetStride: 1 }],
		};
		await runOps(backend, [{ piece, stagingOffset: 0 }], staging, output);
		const ours = asPatterns(output, to);
		const signBit = to === "float32" ? 2 ** 31 : 2 ** 15;
		const wrong: string[] = [];
		let nans = 0;
		theirs.forEach((theirBits, i) => {
			const isNan = theirBits % signBit > INFINITY[to];
			if (isNan) nans++;
			const wanted = isNan ? NAN[to] : theirBits;
			if (ours[i] !== wanted) {
				wrong.push(
					`${patterns[i]?.toString(16)}: ${ours[i]?.toString(16)}, not ${wanted.toString(16)}`,
				);
			}
		});
		expect(wrong.slice(0, 10)).toEqual([]);
		expect(theirs.length).toBe(patterns.length);
		expect(nans).toBeGreaterThan(0);
	});
});
