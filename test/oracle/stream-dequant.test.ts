import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { cast, permute, source } from "../../src/core/expr.ts";
import type { DequantPiece } from "../../src/core/ports.ts";
import type { DequantDtype } from "../../src/core/quantisation.ts";
import { dequantiseBox, runDequantPieces } from "../support/dequantise.ts";
import { float32Patterns } from "../support/float32-patterns.ts";
import { findPython } from "../support/python.ts";
import { readSavedFiles, Resources, temporaryDirectory } from "./conversion.ts";
import { Oracle } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in search ? `: ${search.skip}` : "";

const DTYPES: readonly DequantDtype[] = ["bfloat16", "float32", "float16"];

describe.skipIf("skip" in search)(`dequantisation against torch and transformers${why}`, () => {
	const resources = new Resources();
	let oracle: Oracle;
	let folder: string;

	beforeAll(async () => {
		oracle = resources.use(new Oracle("python" in search ? search.python : ""));
		folder = resources.use(await temporaryDirectory()).path;
	});
	afterAll(() => resources.dispose());

	/** Writes what the kernels make, which without WebAssembly is the same; the path. */
	async function write(make: (simd: boolean) => Promise<Uint8Array>): Promise<string> {
		const ours = await make(true);
		expect(Buffer.compare(ours, await make(false))).toBe(0);
		const path = join(folder, "ours");
		await writeFile(path, ours);
		return path;
	}

	/** Scales in files whose products still fit into memory. */
	function batches(patterns: Uint16Array | Uint32Array): readonly Uint8Array[] {
		const count = 2 ** 14;
		return Array.from({ length: Math.ceil(patterns.length / count) }, (_, i) => {
			const some = patterns.slice(i * count, (i + 1) * count);
			return new Uint8Array(some.buffer);
		});
	}

	const every16Bits = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
	const scaleBits = {
		float32: batches(Uint32Array.from(float32Patterns())),
		bfloat16: batches(every16Bits),
		float16: batches(every16Bits),
		float8_e8m0fnu: [Uint8Array.from({ length: 256 }, (_, bits) => bits)],
	};

	test.each([
		...DTYPES.map((to) => ["float8_e4m3fn", "float32", to] as const),
		...DTYPES.map((to) => ["float8_e5m2", "float32", to] as const),
		["float8_e4m3fn", "bfloat16", "bfloat16"] as const,
		["float8_e4m3fn", "float16", "bfloat16"] as const,
		["float8_e4m3fn", "float8_e8m0fnu", "float32"] as const,
	])("all codes of %s times %s scales, as %s", async (codec, scaleCodec, targetDtype) => {
		const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
		const scalesFile = join(folder, "scales");
		let [compared, nans, expected] = [0, 0, 0];
		for (const scales of scaleBits[scaleCodec]) {
			const count = scales.length / itemBytes(scaleCodec);
			const piece: DequantPiece = {
				kind: "dequant",
				source: "w",
				scales: "s",
				codec,
				scaleCodec,
				targetDtype,
				sourceOffset: 0,
				scaleOffset: 0,
				targetOffset: 0,
				dims: [
					{ size: count, sourceStride: 0, targetStride: 256, scaleStride: 1 },
					{ size: 256, sourceStride: 1, targetStride: 1, scaleStride: 0 },
				],
			};
			await writeFile(scalesFile, scales);
			const bytes = count * 256 * itemBytes(targetDtype);
			const ours = await write((simd) => runDequantPieces([piece], codes, scales, bytes, { simd }));
			const dtypes = { codec, scale_dtype: scaleCodec, dtype: targetDtype };
			const job = { kind: "fp8_products", ...dtypes, scales: scalesFile, ours } as const;
			const report = await oracle.ask(job);
			expect(report.different).toEqual([]);
			compared += report.compared;
			expected += count * 256;
			nans += report.nans;
		}
		expect(compared).toBe(expected);
		expect(nans).toBeGreaterThan(0);
	});

	test.each(DTYPES)("all codes of MXFP4 times all scales, as %s", async (dtype) => {
		// Every byte of two codes, under every scale.
		const shape = [1, 256, 16];
		const [blocksFile, scalesFile] = [join(folder, "blocks"), join(folder, "scales")];
		const blocks = Uint8Array.from({ length: 2 ** 16 }, (_, i) => i % 256);
		const scales = Uint8Array.from({ length: 256 * 16 }, (_, i) => Math.floor(i / 16));
		await writeFile(blocksFile, blocks);
		await writeFile(scalesFile, scales);
		const value = dequantMxfp4(source("w", "uint8", [...shape, 16]), source("s", "uint8", shape));
		const transposed = cast(permute(value, [0, 2, 1]), dtype);
		const box = { offset: [0, 0, 0], size: transposed.shape };
		const ours = await write((simd) => dequantiseBox(transposed, box, blocks, scales, { simd }));
		const files = { blocks: blocksFile, scales: scalesFile, ours };
		const report = await oracle.ask({ kind: "mxfp4", shape, ...files, dtype });
		expect(report.different).toEqual([]);
		expect(report.compared).toBe(2 ** 17);
		expect(report.nans).toBe(0);
	});

	test.each([
		[[256, 384], true],
		[[300, 500], false],
		[[129, 127], false],
		[[1, 1], false],
	] as const)("FP8 %j as torch's own reader loads it", async (shape, hasWholeBlocks) => {
		const model = join(folder, shape.join("x"));
		await oracle.ask({ kind: "write_fp8", shape, folder: model });
		const [file] = await readSavedFiles(model);
		const bytes = await readFile(join(model, file!.name));
		const tensor = (name: string): Uint8Array => {
			const { begin, end } = file!.tensors.find((one) => one.name === name)!;
			return bytes.subarray(begin, end);
		};
		const grid = shape.map((size) => Math.ceil(size / 128));
		const weight = source("w", "float8_e4m3fn", shape);
		const value = dequantFp8Block(weight, source("s", "float32", grid), [128, 128]);
		for (const dtype of DTYPES) {
			// Shards that begin and end inside of blocks.
			const rows = [0, Math.floor(shape[0] / 3), shape[0]];
			const shards = rows.slice(1).map((end, i) => {
				const size = [end - rows[i]!, shape[1]];
				return { offset: [rows[i]!, 0], size };
			});
			const ours = await write(async (simd) => {
				const [scales, codes] = [tensor("w.weight_scale_inv"), tensor("w.weight")];
				const parts: Uint8Array[] = [];
				for (const box of shards) {
					parts.push(await dequantiseBox(cast(value, dtype), box, codes, scales, { simd }));
				}
				return Buffer.concat(parts);
			});
			const where = { shape, folder: model, has_whole_blocks: hasWholeBlocks };
			const report = await oracle.ask({ kind: "read_fp8", ...where, dtype, ours });
			expect(report.different).toEqual([]);
			expect(report.compared).toBe(shape[0] * shape[1]);
			expect(report.transformers?.different).toEqual(hasWholeBlocks ? [] : undefined);
		}
	});

	test("torch's own reader writes one in 32 elements of MXFP4, the first ones of each row", async () => {
		const report = await oracle.ask({ kind: "read_mxfp4", shape: [2, 3, 4], folder });
		// A row has 4 × 32 of them.
		expect(report).toEqual({ per_row: [4, 4, 4, 4, 4, 4], first: true });
	});
});
