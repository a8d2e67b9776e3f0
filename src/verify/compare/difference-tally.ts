import { type Dtype, DTYPES, itemBytes } from "../../core/dtype.ts";
import { formatShape } from "../../core/shape.ts";
import { quote } from "../../dcp/corrupt.ts";
import { type ElementText, elementText, formatElement, readerOf } from "./element.ts";
import { indexIn, type PlacedBlock } from "./stored-block.ts";

/** One element that is not what it must be. */
export interface DifferentElement {
	/** In the whole tensor. */
	readonly index: readonly number[];
	/** Where the checkpoint has it: relative to its directory, and the byte of the file. */
	readonly file: string;
	readonly offset: number;
	readonly found: ElementText;
	readonly expected: ElementText;
}

/** How the elements of one tensor differ from what they must be. */
export interface TensorDifference {
	readonly fqn: string;
	/** How many have other bits. */
	readonly elements: number;
	/** Stored blocks with such elements. */
	readonly blocks: number;
	/** That with the smallest index, the axes as they are stored. */
	readonly first: DifferentElement;
	/** The largest distance of two values, of floats; elements that are NaN on either side are not among it. */
	readonly largest?: number | undefined;
}

/** Counts what differs, tensor by tensor. */
export interface DifferenceTally {
	/**
	 * Adds what differs of a stretch of a block.
	 *
	 * @param element - The first of the stretch, in the row-major order of the block.
	 * @param found - What is stored, whole elements.
	 * @param expected - What must be there, as many bytes.
	 */
	add(block: PlacedBlock, element: number, found: Uint8Array, expected: Uint8Array): void;
	/** In the order in which the first difference of each was found. */
	readonly differences: readonly TensorDifference[];
}

/** A tally of nothing yet. */
export function createDifferenceTally(): DifferenceTally {
	const tensors = new Map<string, OpenDifference>();
	return {
		add(block, element, found, expected) {
			const { elements, firstByte, largest } = compareElements(block.dtype, found, expected);
			if (elements === 0) return;
			const index = indexIn(block, element + firstByte / itemBytes(block.dtype));
			const before = tensors.get(block.fqn);
			const isFirst = before === undefined || isBefore(index, before.first.index);
			const first = (): DifferentElement => ({
				index,
				file: block.file,
				offset: block.begin + element * itemBytes(block.dtype) + firstByte,
				found: elementText(block.dtype, found, firstByte),
				expected: elementText(block.dtype, expected, firstByte),
			});
			tensors.set(block.fqn, {
				elements: (before?.elements ?? 0) + elements,
				blocks: (before?.blocks ?? new Set()).add(block),
				first: isFirst ? first() : before.first,
				largest: largerOf(before?.largest, largest),
			});
		},
		get differences() {
			return [...tensors].map(([fqn, { elements, blocks, first, largest }]) => {
				return { fqn, elements, blocks: blocks.size, first, largest };
			});
		},
	};
}

interface OpenDifference extends Omit<TensorDifference, "fqn" | "blocks"> {
	readonly blocks: Set<PlacedBlock>;
}

/** Whether one index comes before another in row-major order. */
function isBefore(a: readonly number[], b: readonly number[]): boolean {
	const axis = a.findIndex((position, d) => position !== b[d]);
	return axis >= 0 && (a[axis] ?? 0) < (b[axis] ?? 0);
}

function largerOf(a: number | undefined, b: number | undefined): number | undefined {
	return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}

/** Bytes that are looked at element by element when they are not the same. Whole elements of any dtype. */
const STEP_BYTES = 1024;

interface DifferentElements {
	readonly elements: number;
	/** Where the first of them begins. */
	readonly firstByte: number;
	/** As in {@link TensorDifference}. */
	readonly largest: number | undefined;
}

function compareElements(dtype: Dtype, found: Uint8Array, expected: Uint8Array): DifferentElements {
	const width = itemBytes(dtype);
	const read = DTYPES[dtype].isFloat ? readerOf(dtype) : undefined;
	const [left, right] = [found, expected].map(viewOf) as [DataView, DataView];
	let elements = 0;
	let firstByte = 0;
	let largest: number | undefined;
	for (let start = 0; start < found.length; start += STEP_BYTES) {
		const end = Math.min(found.length, start + STEP_BYTES);
		if (Buffer.compare(found.subarray(start, end), expected.subarray(start, end)) === 0) continue;
		for (let byte = start; byte < end; byte += width) {
			if (hasSameBits(left, right, byte, width)) continue;
			if (elements++ === 0) firstByte = byte;
			const distance = Math.abs(Number(read?.(left, byte)) - Number(read?.(right, byte)));
			if (!Number.isNaN(distance)) largest = largerOf(largest, distance);
		}
	}
	return { elements, firstByte, largest };
}

function viewOf(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function hasSameBits(left: DataView, right: DataView, byte: number, width: number): boolean {
	for (let own = byte; own < byte + width; own++) {
		if (left.getUint8(own) !== right.getUint8(own)) return false;
	}
	return true;
}

/** One sentence on a difference, for people. */
export function describeDifference({ fqn, elements, first, largest }: TensorDifference): string {
	const count = elements === 1 ? "1 element" : `${elements} elements`;
	const distance = largest === undefined || elements === 1 ? "" : `, by at most ${largest}`;
	return `${count} of ${quote(fqn)} differ${elements === 1 ? "s" : ""}${distance}; the first is ${formatShape(first.index)}: ${formatElement(first.found)} instead of ${formatElement(first.expected)}, at byte ${first.offset} of ${quote(first.file)}`;
}

/** Where the first element of a difference is. */
export function problemRange({ first: { file, offset, found } }: TensorDifference): {
	readonly file: string;
	readonly range: { readonly start: number; readonly end: number };
} {
	// Two digits a byte, behind `0x`.
	const bytes = (found.bits.length - 2) / 2;
	return { file, range: { start: offset, end: offset + bytes } };
}
