import type { DequantPiece, GatherPiece, ReshardOp } from "../../core/ports.ts";
import { createCpuBackend } from "./backend.ts";

/** Source bytes that one thread reads in a second, by the kind of work. */
export interface CpuRates {
	readonly fp8: number;
	readonly fp4: number;
	/** Of `fp4` whose rows become columns, as experts of gpt-oss are stored. */
	readonly fp4Transposed: number;
	readonly cast: number;
	readonly transpose: number;
}

/** How long each kind is measured, at least. */
const MIN_MEASURE_MS = 8;

/** Elements of each kind: with what is made of them more than a core has of its own cache, as real tiles and windows are. */
const ROWS = 2048;
const ELEMENTS = ROWS * ROWS;

/** Measures this machine's processor, about a tenth of a second. */
export async function measureCpuRates(
	now: () => number = () => performance.now(),
): Promise<CpuRates> {
	await using backend = createCpuBackend();
	const stagingBytes = 4 * ELEMENTS;
	const memory = backend.allocate(stagingBytes + 4 * ELEMENTS).fill(0x3c);
	const staging = memory.subarray(0, stagingBytes);
	const target = memory.subarray(stagingBytes);
	await using loaded = await backend.load(staging);
	const measure = async (op: ReshardOp, bytes: number): Promise<number> => {
		await loaded.run([op], target);
		const begun = now();
		let runs = 0;
		let ms: number;
		do {
			await loaded.run([op], target);
			runs++;
			ms = now() - begun;
		} while (ms < MIN_MEASURE_MS);
		return (bytes * runs * 1000) / ms;
	};
	return {
		fp8: await measure(dequant("float8_e4m3fn", 128), ELEMENTS),
		fp4: await measure(dequant("float4_e2m1", 32), ELEMENTS / 2),
		fp4Transposed: await measure(dequant("float4_e2m1", 32, TRANSPOSED_BLOCKS), ELEMENTS / 2),
		cast: await measure({ piece: CAST, stagingOffset: 0 }, 2 * ELEMENTS),
		transpose: await measure({ piece: TRANSPOSE, stagingOffset: 0 }, 2 * ELEMENTS),
	};
}

const MOVE = { kind: "gather", source: "", sourceOffset: 0, targetOffset: 0 } as const;

const CAST: GatherPiece = {
	...MOVE,
	sourceDtype: "bfloat16",
	targetDtype: "float32",
	dims: [{ size: ELEMENTS, sourceStride: 1, targetStride: 1 }],
};

const TRANSPOSE: GatherPiece = {
	...MOVE,
	sourceDtype: "bfloat16",
	targetDtype: "bfloat16",
	dims: [
		{ size: ROWS, sourceStride: 1, targetStride: ROWS },
		{ size: ROWS, sourceStride: ROWS, targetStride: 1 },
	],
};

/** Rows of blocks of 32 elements, which become columns. */
const TRANSPOSED_BLOCKS: DequantPiece["dims"] = [
	{ size: ROWS / 32, sourceStride: 32, targetStride: 32 * ROWS, scaleStride: 1 },
	{ size: 32, sourceStride: 1, targetStride: ROWS, scaleStride: 0 },
	{ size: ROWS, sourceStride: ROWS, targetStride: 1, scaleStride: ROWS / 32 },
];

/** Rows of elements with a scale for every `block` of them. */
function dequant(
	codec: DequantPiece["codec"],
	block: number,
	dims: DequantPiece["dims"] = [
		{ size: ELEMENTS / block, sourceStride: block, targetStride: block, scaleStride: 1 },
		{ size: block, sourceStride: 1, targetStride: 1, scaleStride: 0 },
	],
): ReshardOp {
	const piece: DequantPiece = {
		kind: "dequant",
		source: "",
		codec,
		scales: "",
		scaleCodec: codec === "float4_e2m1" ? "power_of_two" : "float32",
		targetDtype: "bfloat16",
		sourceOffset: 0,
		scaleOffset: 0,
		targetOffset: 0,
		dims,
	};
	return { piece, stagingOffset: 0, scaleStagingOffset: 2 * ELEMENTS };
}
