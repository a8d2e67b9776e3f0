import { type Box, boxNumel } from "../core/box.ts";
import { type Dtype, itemBytes } from "../core/dtype.ts";
import { reshape, slice } from "../core/expr.ts";
import { at, contiguousStrides, type Shape } from "../core/shape.ts";
import { elementsOf, type ElementValue } from "./elements.ts";
import type { ReadCounters } from "./joined-reads.ts";
import { type MeasuredTensor, observe, type Observer } from "./measure.ts";
import { type ReadableTensor, readElements, type ReadElementsOptions } from "./read-elements.ts";
import { sliceOf } from "./selection.ts";

/** How two tensors of one shape and dtype compare, bit by bit. */
export interface Comparison {
	/** Elements whose bits differ: `-0` and `0` do, NaNs of the same bits do not. */
	readonly different: number;
	/** Index of the first of them in row-major order. */
	readonly first: readonly number[] | undefined;
	/** Largest distance of two finite elements that differ; `undefined` when there are none, and of complex numbers. */
	readonly largest: number | undefined;
}

/** Two tensors, looked at side by side. */
export interface ComparedTensors {
	readonly left: MeasuredTensor;
	readonly right: MeasuredTensor;
	readonly comparison: Comparison;
}

/** What to compare: both of one shape and dtype. */
export interface CompareOptions extends Omit<ReadElementsOptions, "receiver" | "tensor"> {
	/** Is read in stretches, in the order that `right` comes in: of files on this machine. */
	readonly left: ReadableTensor;
	/** Is read once, as it lies in its files: from the Hub. */
	readonly right: ReadableTensor;
}

/** Memory for one stretch of the left tensor, bytes. */
const STRETCH_MEMORY_BYTES = 32 * 2 ** 20;

/**
 * Reads two tensors, window by window, and compares them.
 *
 * @throws {HfStreamDcpError} as {@link readElements}.
 */
export async function compareTensors(options: CompareOptions): Promise<ComparedTensors> {
	const { left, right, ...rest } = options;
	const { dtype, shape } = right.expr;
	const width = itemBytes(dtype);
	const leftRead: ReadCounters = { neededBytes: 0, readBytes: 0, requests: 0 };
	const differences = collectDifferences(dtype, shape);
	let observers: readonly [Observer, Observer] | undefined;
	const rightRead = await readElements({
		...rest,
		tensor: right,
		receiver: (blocks) => {
			const both = [observe(dtype, shape, blocks), observe(dtype, shape, blocks)] as const;
			observers = both;
			return {
				async take(block, first, bytes) {
					const stretch = { box: at(blocks, block), first, count: bytes.length / width };
					const own = await readStretch(left, stretch, leftRead, options);
					both[0].take(block, first, own);
					both[1].take(block, first, bytes);
					differences.add(stretch, own, bytes);
				},
			};
		},
	});
	if (observers === undefined) throw new Error("internal error: no receiver was made");
	return {
		left: { ...observers[0].result(), read: leftRead },
		right: { ...observers[1].result(), read: rightRead },
		comparison: differences.result(),
	};
}

/** Elements `first` up to but not including `first + count` of a block, row-major. */
interface Stretch {
	readonly box: Box;
	readonly first: number;
	readonly count: number;
}

async function readStretch(
	tensor: ReadableTensor,
	{ box, first, count }: Stretch,
	counters: ReadCounters,
	{ signal }: CompareOptions,
): Promise<Uint8Array> {
	const flat = reshape(sliceOf(tensor.expr, box), [boxNumel(box)]);
	const expr = slice(flat, 0, first, first + count);
	const width = itemBytes(expr.dtype);
	const result = new Uint8Array(count * width);
	const read = await readElements({
		tensor: { ...tensor, expr },
		memoryBytes: STRETCH_MEMORY_BYTES,
		// Memory of WebAssembly reserves address space that is given back late.
		simd: false,
		signal,
		receiver: (blocks) => ({
			take(block, from, bytes) {
				result.set(bytes, (at(at(blocks, block).offset, 0) + from) * width);
			},
		}),
	});
	counters.neededBytes += read.neededBytes;
	counters.readBytes += read.readBytes;
	counters.requests += read.requests;
	return result;
}

interface DifferenceCollector {
	add(stretch: Stretch, left: Uint8Array, right: Uint8Array): void;
	result(): Comparison;
}

function collectDifferences(dtype: Dtype, shape: Shape): DifferenceCollector {
	const width = itemBytes(dtype);
	const strides = contiguousStrides(shape);
	let different = 0;
	let first = Number.POSITIVE_INFINITY;
	let largest: number | undefined;
	return {
		add(stretch, left, right) {
			if (Buffer.compare(left, right) === 0) return;
			for (let from = 0; from < left.length; from += width) {
				if (isEqual(left, right, from, width)) continue;
				different++;
				first = Math.min(first, placeOf(stretch, from / width, strides));
				const distance = distanceOf(dtype, left, right, from);
				if (Number.isFinite(distance)) largest = Math.max(largest ?? 0, distance);
			}
		},
		result: () => ({
			different,
			first: different === 0 ? undefined : indexOf(first, shape, strides),
			largest,
		}),
	};
}

function isEqual(left: Uint8Array, right: Uint8Array, from: number, width: number): boolean {
	for (let i = from; i < from + width; i++) if (left[i] !== right[i]) return false;
	return true;
}

/** Row-major place in the tensor of element `i` of a stretch. */
function placeOf({ box, first }: Stretch, i: number, strides: readonly number[]): number {
	const own = indexOf(first + i, box.size, contiguousStrides(box.size));
	return own.reduce(
		(place, index, axis) => place + (index + at(box.offset, axis)) * at(strides, axis),
		0,
	);
}

function indexOf(place: number, shape: Shape, strides: readonly number[]): number[] {
	return shape.map((size, axis) => Math.floor(place / at(strides, axis)) % size);
}

/** NaN where there is no distance. */
function distanceOf(dtype: Dtype, left: Uint8Array, right: Uint8Array, from: number): number {
	const end = from + itemBytes(dtype);
	const [a, b] = [left, right].map((bytes) =>
		toNumber(elementsOf(dtype, bytes.subarray(from, end))[0]),
	);
	return Math.abs((a ?? Number.NaN) - (b ?? Number.NaN));
}

function toNumber(value: ElementValue | undefined): number {
	return value === undefined || typeof value === "object" ? Number.NaN : Number(value);
}
