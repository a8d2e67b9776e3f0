import { type Dtype, itemBytes } from "../core/dtype.ts";
import { invariant } from "../core/errors.ts";

/** Elements that are turned into float64 at a time: small enough to stay in the processor's first cache. */
export const BLOCK_ELEMENTS = 2048;

/** Turns elements of 4 or 8 bytes into float64, a block at a time. */
export interface ElementReader {
	/** Bytes of an element. */
	readonly width: number;
	/** Where {@link read} puts the values. */
	readonly values: Float64Array;
	/** Of the last block of 64-bit integers: the lower and upper halves in turn, which hold them exactly. Empty for other elements. */
	readonly halves: Uint32Array;
	/**
	 * Reads at most {@link BLOCK_ELEMENTS} elements.
	 *
	 * @returns How many.
	 */
	read(bytes: Uint8Array): number;
}

/** A block of elements as they are stored, seen as what they may be. */
interface Block {
	readonly float32: Float32Array;
	readonly float64: Float64Array;
	readonly int32: Int32Array;
	readonly uint32: Uint32Array;
}

/** Turns the first `count` elements of a block into float64. */
type Conversion = (block: Block, values: Float64Array, count: number) => void;

const CONVERSIONS: { readonly [D in Dtype]?: Conversion } = {
	float32: ({ float32 }, values, count) => values.set(float32.subarray(0, count)),
	float64: ({ float64 }, values, count) => values.set(float64.subarray(0, count)),
	int32: ({ int32 }, values, count) => values.set(int32.subarray(0, count)),
	uint32: ({ uint32 }, values, count) => values.set(uint32.subarray(0, count)),
	int64: ({ uint32, int32 }, values, count) => joinHalves(uint32, int32, values, count),
	uint64: ({ uint32 }, values, count) => joinHalves(uint32, uint32, values, count),
	complex64: ({ float32 }, values, count) => magnitudes(float32, values, count),
};

/**
 * Reads elements of `dtype` as float64: exactly, but for 64-bit integers, which are rounded once, and complex numbers, of which it makes
 * magnitudes.
 */
export function createElementReader(dtype: Dtype): ElementReader {
	const convert = CONVERSIONS[dtype];
	invariant(convert !== undefined, `${dtype} is not read as numbers`);
	const width = itemBytes(dtype);
	const values = new Float64Array(BLOCK_ELEMENTS);
	const buffer = new ArrayBuffer(BLOCK_ELEMENTS * 8);
	const bytesOfBlock = new Uint8Array(buffer);
	const block: Block = {
		float32: new Float32Array(buffer),
		float64: new Float64Array(buffer),
		int32: new Int32Array(buffer),
		uint32: new Uint32Array(buffer),
	};
	const isWide = dtype === "int64" || dtype === "uint64";
	return {
		width,
		values,
		halves: isWide ? block.uint32 : new Uint32Array(0),
		read(bytes) {
			// Copied first, so that elements can be read wherever they lie in memory.
			bytesOfBlock.set(bytes);
			const count = bytes.length / width;
			convert(block, values, count);
			return count;
		},
	};
}

function joinHalves(
	lower: Uint32Array,
	upper: Int32Array | Uint32Array,
	values: Float64Array,
	count: number,
): void {
	for (let i = 0; i < count; i++) {
		values[i] = (upper[2 * i + 1] ?? 0) * 2 ** 32 + (lower[2 * i] ?? 0);
	}
}

function magnitudes(parts: Float32Array, values: Float64Array, count: number): void {
	for (let i = 0; i < count; i++) {
		const [re, im] = [parts[2 * i] ?? 0, parts[2 * i + 1] ?? 0];
		// The squares of float32 numbers neither overflow nor vanish in float64. NaN beside an infinity is a NaN here.
		values[i] = Math.sqrt(re * re + im * im);
	}
}
