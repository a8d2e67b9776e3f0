import type { Dtype } from "../core/dtype.ts";
import { BLOCK_ELEMENTS, createElementReader } from "./element-reader.ts";
import {
	deviationOf,
	emptyMoments,
	meanOf,
	mergeMoments,
	type Moments,
	scaleMoments,
} from "./moments.ts";
import type { Meter, TensorStatistics } from "./statistics.ts";
import { createWideExtremes } from "./wide-extremes.ts";

/** Numbers beyond this have squares, or sums of a block, that float64 cannot hold; they are added up times {@link SMALLER}. */
const LARGE = 2 ** 500;
const SMALLER = 2 ** -600;

/** What is counted of all elements. */
interface Counts {
	nan: number;
	inf: number;
	zeros: number;
	min: number;
	max: number;
}

/** The moments of what one call of `add` gave. */
interface Window {
	readonly place: number;
	readonly moments: Moments;
	/** Of the blocks that have large numbers, times {@link SMALLER}. */
	readonly large: Moments;
}

/** A meter of elements of 4 or 8 bytes. */
export function createNumberMeter(dtype: Dtype): Meter {
	const reader = createElementReader(dtype);
	const wide = reader.halves.length > 0 ? createWideExtremes(dtype === "int64") : undefined;
	const counts: Counts = {
		nan: 0,
		inf: 0,
		zeros: 0,
		min: Number.POSITIVE_INFINITY,
		max: Number.NEGATIVE_INFINITY,
	};
	const windows: Window[] = [];
	let elements = 0;
	return {
		add(place, bytes) {
			const window: Window = { place, moments: emptyMoments(), large: emptyMoments() };
			const step = BLOCK_ELEMENTS * reader.width;
			for (let from = 0; from < bytes.length; from += step) {
				const count = reader.read(bytes.subarray(from, from + step));
				wide?.add(reader.halves, count);
				elements += count;
				addBlock(reader.values, count, counts, window);
			}
			windows.push(window);
		},
		result() {
			windows.sort((a, b) => a.place - b.place);
			const moments = emptyMoments();
			const large = emptyMoments();
			for (const window of windows) {
				mergeMoments(moments, window.moments);
				mergeMoments(large, window.large);
			}
			const isThere = elements > counts.nan;
			const { nan, inf, zeros } = counts;
			return {
				elements,
				nan,
				inf,
				zeros,
				min: isThere ? (wide?.min() ?? counts.min) : undefined,
				max: isThere ? (wide?.max() ?? counts.max) : undefined,
				...describe(moments, large),
			};
		},
	};
}

function describe(moments: Moments, large: Moments): Pick<TensorStatistics, "mean" | "std"> {
	const isLarge = large.count > 0;
	const all = isLarge ? scaleMoments(moments, SMALLER) : moments;
	mergeMoments(all, large);
	const factor = isLarge ? 1 / SMALLER : 1;
	return {
		mean: all.count > 0 ? meanOf(all) * factor : undefined,
		std: all.count > 1 ? deviationOf(all) * factor : undefined,
	};
}

function addBlock(values: Float64Array, count: number, counts: Counts, window: Window): void {
	let [sum0, sum1] = [0, 0];
	let { zeros } = counts;
	let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
	const pairs = count - (count % 2);
	for (let i = 0; i < pairs; i += 2) {
		const a = values[i] ?? 0;
		const b = values[i + 1] ?? 0;
		sum0 += a;
		sum1 += b;
		if (a < min) min = a;
		if (a > max) max = a;
		if (b < min) min = b;
		if (b > max) max = b;
		if (a === 0) zeros++;
		if (b === 0) zeros++;
	}
	if (pairs < count) {
		const last = values[pairs] ?? 0;
		sum0 += last;
		if (last < min) min = last;
		if (last > max) max = last;
		if (last === 0) zeros++;
	}
	counts.min = Math.min(counts.min, min);
	counts.max = Math.max(counts.max, max);
	counts.zeros = zeros;
	const sum = sum0 + sum1;
	// A sum that is finite and small has neither NaN nor infinities in it, nor anything large that did not cancel out.
	if (min > -LARGE && max < LARGE && Number.isFinite(sum)) {
		mergeMoments(window.moments, momentsOf(values, count, sum));
	} else addUnusual(values, count, counts, window);
}

/** A block with NaN, infinities or large numbers. */
function addUnusual(values: Float64Array, count: number, counts: Counts, window: Window): void {
	let kept = 0;
	let largest = 0;
	for (let i = 0; i < count; i++) {
		const value = values[i] ?? 0;
		if (Number.isNaN(value)) counts.nan++;
		else if (Number.isFinite(value)) {
			values[kept++] = value;
			largest = Math.max(largest, Math.abs(value));
		} else counts.inf++;
	}
	const isLarge = largest >= LARGE;
	let sum = 0;
	for (let i = 0; i < kept; i++) {
		const value = (values[i] ?? 0) * (isLarge ? SMALLER : 1);
		values[i] = value;
		sum += value;
	}
	mergeMoments(isLarge ? window.large : window.moments, momentsOf(values, kept, sum));
}

function momentsOf(values: Float64Array, count: number, sum: number): Moments {
	const moments = emptyMoments();
	if (count === 0) return moments;
	const mean = sum / count;
	let [squares0, squares1] = [0, 0];
	const pairs = count - (count % 2);
	for (let i = 0; i < pairs; i += 2) {
		const a = (values[i] ?? 0) - mean;
		const b = (values[i + 1] ?? 0) - mean;
		squares0 += a * a;
		squares1 += b * b;
	}
	if (pairs < count) squares0 += ((values[pairs] ?? 0) - mean) ** 2;
	return { count, sum, lost: 0, squares: squares0 + squares1 };
}
