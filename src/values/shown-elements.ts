import { type Box, boxNumel } from "../core/box.ts";
import { type Dtype, itemBytes } from "../core/dtype.ts";
import { at, contiguousStrides, numel, type Shape } from "../core/shape.ts";
import { type ElementValue, elementsOf } from "./elements.ts";

/** Elements of a tensor that are shown: all of a small one, and the edges of a large one. */
export interface ShownElements {
	/** Of the tensor. */
	readonly shape: Shape;
	/** For each axis, which indices are shown; ascending. */
	readonly indices: readonly (readonly number[])[];
	/** Whether there are others. */
	readonly isCut: boolean;
	/** Row-major. */
	readonly values: readonly ElementValue[];
}

/** How many elements torch shows in full, and how many of each end of an axis otherwise. */
const THRESHOLD = 1000;
const EDGE_ITEMS = 3;

/** Which elements of a tensor are shown, as torch chooses them. Without values. */
export function chooseElements(shape: Shape): Omit<ShownElements, "values"> {
	const isCut = numel(shape) > THRESHOLD;
	const indices = shape.map((size) => {
		const all = !isCut || size <= 2 * EDGE_ITEMS;
		return all
			? Array.from({ length: size }, (_, index) => index)
			: [0, 1, 2, size - 3, size - 2, size - 1];
	});
	return { shape, indices, isCut };
}

/** Picks the elements that are shown out of the stretches that a tensor comes in. */
export interface ElementPicker {
	/** Takes elements of the block that the picker was made with, from element `first` on. */
	take(block: number, first: number, bytes: Uint8Array): void;
	/** What was picked, when all blocks have been taken. */
	result(): ShownElements;
}

/**
 * Makes a picker.
 *
 * @param blocks - What the tensor comes in: together all of it, each element once.
 */
export function createElementPicker(
	dtype: Dtype,
	shape: Shape,
	blocks: readonly Box[],
): ElementPicker {
	const chosen = chooseElements(shape);
	const width = itemBytes(dtype);
	const data = new Uint8Array(chosen.indices.reduce((n, { length }) => n * length, 1) * width);
	const wanted = blocks.map((block) => wantedOf(chosen.indices, block));
	return {
		take(block, first, bytes) {
			const { places, targets } = at(wanted, block);
			const end = first + bytes.length / width;
			for (let i = lowerBound(places, first); i < places.length; i++) {
				const place = at(places, i);
				if (place >= end) break;
				const from = (place - first) * width;
				data.set(bytes.subarray(from, from + width), at(targets, i) * width);
			}
		},
		result: () => ({ ...chosen, values: elementsOf(dtype, data) }),
	};
}

/** Shown elements in one block: their places among the block's elements, ascending, and among all that are shown. */
interface Wanted {
	readonly places: readonly number[];
	readonly targets: readonly number[];
}

function wantedOf(indices: readonly (readonly number[])[], block: Box): Wanted {
	if (boxNumel(block) === 0) return { places: [], targets: [] };
	const strides = contiguousStrides(block.size);
	const targetStrides = contiguousStrides(indices.map(({ length }) => length));
	let places = [0];
	let targets = [0];
	indices.forEach((own, axis) => {
		const offset = at(block.offset, axis);
		const inside = own
			.map((index, shown) => ({ index: index - offset, shown }))
			.filter(({ index }) => index >= 0 && index < at(block.size, axis));
		places = places.flatMap((place) =>
			inside.map(({ index }) => place + index * at(strides, axis)),
		);
		targets = targets.flatMap((target) =>
			inside.map(({ shown }) => target + shown * at(targetStrides, axis)),
		);
	});
	return { places, targets };
}

/** Index of the first of `ascending` that is at least `value`. */
function lowerBound(ascending: readonly number[], value: number): number {
	let [low, high] = [0, ascending.length];
	while (low < high) {
		const middle = (low + high) >>> 1;
		if (at(ascending, middle) < value) low = middle + 1;
		else high = middle;
	}
	return low;
}
