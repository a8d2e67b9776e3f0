import { describe, expect, test } from "vitest";
import type { Dtype } from "../../src/core/dtype.ts";
import type { DequantOp, FillPiece, MoveOp, ReshardOp } from "../../src/core/ports.ts";
import {
	dispatchParams,
	encodeJobs,
	type EncodedJobs,
} from "../../src/stream/webgpu/encode-jobs.ts";
import {
	CODEC_CODES,
	FORMAT_CODES,
	JOB_WORDS,
	packCodes,
	SCALE_CODES,
} from "../../src/stream/webgpu/job-table.ts";

const NO_CODES = { from: 0, scale: 0, to: 0 };

function gather(
	[sourceDtype, targetDtype]: readonly [Dtype, Dtype],
	places: { readonly stagingOffset?: number; readonly targetOffset?: number },
	...dims: readonly (readonly [number, number, number])[]
): MoveOp {
	return {
		piece: {
			kind: "gather",
			source: "w",
			sourceDtype,
			targetDtype,
			sourceOffset: 0,
			targetOffset: places.targetOffset ?? 0,
			dims: dims.map(([size, sourceStride, targetStride]) => ({
				size,
				sourceStride,
				targetStride,
			})),
		},
		stagingOffset: places.stagingOffset ?? 0,
	};
}

function encode(
	ops: readonly ReshardOp[],
	maxJobs = 64,
): EncodedJobs & { readonly words: number[][] } {
	const table = new Uint32Array(maxJobs * JOB_WORDS).fill(0xffffffff);
	const encoded = encodeJobs(ops, table);
	const words = Array.from({ length: encoded.jobs }, (_, job) =>
		Array.from(table.subarray(job * JOB_WORDS, (job + 1) * JOB_WORDS)),
	);
	return { ...encoded, words };
}

/** The record of a job; loops that it lacks are zeroes. */
function record(header: readonly number[], ...dims: readonly (readonly number[])[]): number[] {
	const words = [...header, ...dims.flat()];
	return [...words, ...Array.from({ length: JOB_WORDS - words.length }, () => 0)];
}

describe("a move", () => {
	test("of a run takes the largest units that its target is made of, wherever the source lies", () => {
		const cases = [
			{ targetOffset: 0, size: 8, kernel: "move32", units: 4 },
			{ targetOffset: 2, size: 8, kernel: "move32", units: 4 },
			{ targetOffset: 1, size: 8, kernel: "move16", units: 8 },
			{ targetOffset: 0, size: 7, kernel: "move16", units: 7 },
		];
		for (const { targetOffset, size, kernel, units } of cases) {
			const op = gather(["bfloat16", "bfloat16"], { stagingOffset: 3, targetOffset }, [size, 1, 1]);
			const { dispatches, words } = encode([op]);
			expect(dispatches.map((dispatch) => dispatch.kernel)).toEqual([kernel]);
			expect(words[0]?.[6]).toBe(units);
		}
	});

	test("of rows with a gap on both sides", () => {
		const op = gather(
			["float32", "float32"],
			{ stagingOffset: 5, targetOffset: 3 },
			[6, 40, 32],
			[10, 1, 1],
		);
		const { words, clear, dispatches } = encode([op]);
		const codes = packCodes({ outerDims: 1, dims: 2, ...NO_CODES });
		expect(words).toEqual([
			record([0, 60, 5, 3, 0, 10, 10, codes], [6, 160, 32, 0], [10, 4, 1, 0]),
		]);
		expect(clear).toBe(false);
		expect(dispatches).toEqual([
			{ kernel: "move32", firstJob: 0, jobCount: 1, groupCount: 1, x: 1, y: 1 },
		]);
	});

	test("transposed: the target is dense over both loops, so that words hold elements of two rows", () => {
		const op = gather(["bfloat16", "bfloat16"], {}, [5, 1, 7], [7, 5, 1]);
		const { words, clear } = encode([op]);
		const codes = packCodes({ outerDims: 0, dims: 2, ...NO_CODES });
		expect(words).toEqual([record([0, 18, 0, 0, 0, 18, 35, codes], [5, 2, 7, 0], [7, 10, 1, 0])]);
		// The last of 35 elements has half a word for itself.
		expect(clear).toBe(true);
	});

	test("of 8-byte elements is one of pairs of words", () => {
		const op = gather(["int64", "int64"], {}, [3, 1, 4], [4, 3, 1]);
		const { dispatches, words } = encode([op]);
		expect(dispatches[0]?.kernel).toBe("move32");
		expect(words[0]?.slice(8, 20)).toEqual([3, 8, 8, 0, 4, 24, 2, 0, 2, 4, 1, 0]);
	});

	test("of rows that begin at any byte has a word more for each, and clears", () => {
		const op = gather(["uint8", "uint8"], {}, [9, 100, 7], [6, 1, 1]);
		const { words, clear } = encode([op]);
		expect(words[0]?.slice(1, 7)).toEqual([9 * 3, 0, 0, 0, 3, 6]);
		expect(clear).toBe(true);
	});

	test("of a single element", () => {
		const { words } = encode([gather(["uint8", "uint8"], { stagingOffset: 9, targetOffset: 6 })]);
		const codes = packCodes({ outerDims: 0, dims: 1, ...NO_CODES });
		expect(words).toEqual([record([0, 1, 9, 6, 0, 1, 1, codes], [1, 0, 1, 0])]);
	});
});

describe("formats", () => {
	test("of a cast", () => {
		const op = gather(["float32", "bfloat16"], { stagingOffset: 1, targetOffset: 1 }, [4, 2, 1]);
		const { words, dispatches } = encode([op]);
		const to = FORMAT_CODES.bfloat16;
		const codes = packCodes({ outerDims: 0, dims: 1, from: FORMAT_CODES.float32, scale: 0, to });
		expect(dispatches[0]?.kernel).toBe("cast16");
		expect(words).toEqual([record([0, 3, 1, 1, 0, 3, 4, codes], [4, 8, 1, 0])]);
	});

	test("of elements of half a byte: their places count halves, those of scales bytes", () => {
		const op: DequantOp = {
			piece: {
				kind: "dequant",
				source: "w",
				scales: "s",
				codec: "float4_e2m1",
				scaleCodec: "bfloat16",
				targetDtype: "float32",
				sourceOffset: 7,
				scaleOffset: 3,
				targetOffset: 2,
				dims: [
					{ size: 4, sourceStride: 64, targetStride: 32, scaleStride: 2 },
					{ size: 32, sourceStride: 1, targetStride: 1, scaleStride: 0 },
				],
			},
			stagingOffset: 10,
			scaleStagingOffset: 101,
		};
		const { words, dispatches } = encode([op]);
		const formats = { from: CODEC_CODES.float4_e2m1, scale: SCALE_CODES.bfloat16 };
		const codes = packCodes({ outerDims: 0, dims: 2, ...formats, to: FORMAT_CODES.float32 });
		expect(dispatches[0]?.kernel).toBe("dequant32");
		expect(words).toEqual([
			record([0, 128, 21, 2, 101, 128, 128, codes], [4, 64, 32, 4], [32, 1, 1, 0]),
		]);
	});
});

describe("a table", () => {
	test("has the jobs of one kernel together, each behind the workgroups of those before it", () => {
		const bytes = (size: number, targetOffset: number): MoveOp =>
			gather(["uint8", "uint8"], { targetOffset }, [size, 1, 1]);
		const { words, dispatches } = encode([
			bytes(1000, 0),
			bytes(3, 1000),
			bytes(260, 1004),
			bytes(1, 1003),
		]);
		expect(dispatches).toEqual([
			{ kernel: "move8", firstJob: 0, jobCount: 2, groupCount: 2, x: 2, y: 1 },
			{ kernel: "move32", firstJob: 2, jobCount: 2, groupCount: 6, x: 6, y: 1 },
		]);
		expect(words.map((job) => job[0])).toEqual([0, 1, 0, 4]);
		const bases = { sourceBase: 512, targetWord: 64, tableWord: 96 };
		expect(Array.from(dispatchParams(dispatches[1]!, bases))).toEqual([
			96 + 2 * JOB_WORDS,
			2,
			6,
			6,
			512,
			64,
			0,
			0,
		]);
	});

	test("gives back what no kernel takes, and what it has no room for", () => {
		const fill: FillPiece = {
			kind: "fill",
			value: 0,
			targetDtype: "float32",
			targetOffset: 0,
			dims: [],
		};
		const filling: MoveOp = { piece: fill, stagingOffset: 0 };
		const noCast = gather(["float32", "int8"], {}, [4, 1, 1]);
		const fits = gather(["uint8", "uint8"], {}, [4, 1, 1]);
		const another = gather(["uint8", "uint8"], { targetOffset: 4 }, [4, 1, 1]);
		const { rest, jobs } = encode([filling, fits, noCast, another], 1);
		expect(rest).toEqual([filling, noCast, another]);
		expect(jobs).toBe(1);
	});

	test("has no job for an op without elements", () => {
		const nothing = gather(["uint8", "uint8"], {}, [4, 1, 1], [0, 1, 1]);
		expect(encode([nothing])).toMatchObject({ jobs: 0, dispatches: [], clear: false, rest: [] });
	});

	test("has several jobs for an op of more than six loops, up to a number", () => {
		const dims = (sizes: readonly number[]): [number, number, number][] => {
			let stride = 1;
			return sizes
				.toReversed()
				.map((size): [number, number, number] => {
					// A gap behind every loop keeps runs from being dense.
					const own = stride;
					stride = stride * size + 1;
					return [size, own * 3, own];
				})
				.toReversed();
		};
		const op = gather(["float32", "float32"], {}, ...dims([3, 2, 2, 2, 2, 2, 2, 2]));
		const { words, rest } = encode([op]);
		expect(rest).toEqual([]);
		expect(words).toHaveLength(6);
		const [outer, next] = op.piece.dims;
		const starts = [0, 1, 2].flatMap((i) =>
			[0, 1].map((j) => i * outer!.targetStride + j * next!.targetStride),
		);
		expect(words.map((job) => job[3])).toEqual(starts);
		expect(words.map((job) => job[2])).toEqual(starts.map((start) => start * 12));
		const wide = gather(["float32", "float32"], {}, ...dims([1025, 2, 2, 2, 2, 2, 2]));
		expect(encode([wide], 4096).rest).toEqual([wide]);
	});

	test("gives back ops whose places do not fit into 32 bits", () => {
		const far = (stagingOffset: number, size: number): MoveOp =>
			gather(["float32", "float32"], { stagingOffset }, [size, 1, 1]);
		expect(encode([far(2 ** 32 - 1000, 200)]).rest).toEqual([]);
		expect(encode([far(2 ** 32 - 1000, 300)]).rest).toHaveLength(1);
		expect(encode([gather(["uint8", "uint8"], {}, [5, 2 ** 30, 1])]).rest).toHaveLength(1);
		expect(encode([gather(["uint8", "uint8"], { targetOffset: 2 ** 32 })]).rest).toHaveLength(1);
	});

	test("has a second row of workgroups where one is not enough, of the same length", () => {
		const size = 65_535 * 64;
		const { dispatches } = encode([gather(["float32", "float32"], {}, [size, 1, 1])]);
		expect(dispatches).toMatchObject([{ groupCount: 65_535, x: 65_535, y: 1 }]);
		const larger = encode([gather(["float32", "float32"], {}, [size + 1, 1, 1])]);
		expect(larger.dispatches).toMatchObject([{ groupCount: 65_536, x: 32_768, y: 2 }]);
	});
});
