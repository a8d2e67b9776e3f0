import type { DequantDtype, ElementCodec, ScaleCodec } from "../../core/quantisation.ts";

/**
 * What the kernels of the graphics processor are called. The number is the bits of a *unit*: what a kernel makes at once, of which a
 * 32-bit word of the target holds one, two or four.
 */
export type KernelName =
	| "move8"
	| "move16"
	| "move32"
	| "cast16"
	| "cast32"
	| "dequant16"
	| "dequant32";

/** Every kernel there is. */
export const KERNELS: readonly KernelName[] = [
	"move8",
	"move16",
	"move32",
	"cast16",
	"cast32",
	"dequant16",
	"dequant32",
];

/** Units in a 32-bit word of the target. */
export const UNITS_PER_WORD: { readonly [K in KernelName]: 1 | 2 | 4 } = {
	move8: 4,
	move16: 2,
	move32: 1,
	cast16: 2,
	cast32: 1,
	dequant16: 2,
	dequant32: 1,
};

/** Threads in a workgroup. Every device has at least 256; few are lost on a small job. */
export const GROUP_THREADS = 64;

/** Loops that a job can hold. */
export const MAX_DIMS = 6;

/**
 * Where the words of a job lie in its record.
 *
 * A job's loops are `outer` ones, whose indices give *blocks*, and inner ones, over which the units of the target are dense. A thread makes
 * one word of a block.
 */
export const JOB_FIELDS = {
	/** Workgroups of the same dispatch before those of this job. */
	firstGroup: 0,
	/** Blocks times words of a block. */
	threads: 1,
	/** Place of the first element: a byte, or, of elements of four bits, half of one. */
	source: 2,
	/** First unit of the target. */
	target: 3,
	/** Byte of the first scale. */
	scale: 4,
	/** Words that a block touches at most. */
	blockWords: 5,
	/** Units in a block. */
	blockUnits: 6,
	/** See {@link packCodes}. */
	codes: 7,
	/** The first loop, the outermost; of each the words that {@link DIM_FIELDS} names. */
	dims: 8,
} as const;

/** Where the words of a loop lie: its size, and what one step of it adds to the three places. */
export const DIM_FIELDS = { size: 0, source: 1, target: 2, scale: 3 } as const;

/** Words of one loop. */
export const DIM_WORDS = 4;

/** Words of one job. */
export const JOB_WORDS: number = JOB_FIELDS.dims + MAX_DIMS * DIM_WORDS;

/** Where the words of the parameters of a dispatch lie. */
export const PARAM_FIELDS = {
	/** Word of the table where the first job of the dispatch lies. */
	table: 0,
	jobCount: 1,
	groupCount: 2,
	/** Workgroups in a row of the grid. */
	gridWidth: 3,
	/** Byte of the source buffer that the jobs call 0. */
	sourceBase: 4,
	/** Word of the target buffer that the jobs call 0. */
	targetWord: 5,
} as const;

/** Words of the parameters of a dispatch: a multiple of 16 bytes. */
export const PARAM_WORDS = 8;

/** How the floating-point formats are told to a kernel. */
export const FORMAT_CODES: { readonly [F in DequantDtype]: number } = {
	float32: 0,
	float16: 1,
	bfloat16: 2,
};

/** How the element codecs are told to a kernel. */
export const CODEC_CODES: { readonly [C in ElementCodec]: number } = {
	float8_e4m3fn: 0,
	float8_e5m2: 1,
	float4_e2m1: 2,
};

/** How the scale codecs are told to a kernel: those that are formats as {@link FORMAT_CODES} do. */
export const SCALE_CODES: { readonly [C in ScaleCodec]: number } = {
	...FORMAT_CODES,
	float8_e8m0fnu: 3,
	power_of_two: 4,
};

/** What the `codes` of a job hold. */
export interface JobCodes {
	/** How many of the loops are outer ones. */
	readonly outerDims: number;
	/** Loops altogether. */
	readonly dims: number;
	/** Format of the elements; of a dequantising job their codec. */
	readonly from: number;
	readonly scale: number;
	/** Format of the target. */
	readonly to: number;
}

/** Bits below each of {@link JobCodes} in the word that holds them. */
export const CODE_SHIFTS: { readonly [C in keyof JobCodes]: number } = {
	outerDims: 0,
	dims: 4,
	from: 8,
	scale: 16,
	to: 24,
};

/** The `codes` of a job in one word. */
export function packCodes(codes: JobCodes): number {
	return (
		codes.outerDims |
		(codes.dims << CODE_SHIFTS.dims) |
		(codes.from << CODE_SHIFTS.from) |
		(codes.scale << CODE_SHIFTS.scale) |
		(codes.to << CODE_SHIFTS.to)
	);
}
