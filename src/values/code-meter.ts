import { addToSum, deviationOf, emptyMoments, meanOf } from "./moments.ts";
import type { Meter, TensorStatistics } from "./statistics.ts";

/** Copied in, so that elements can be read wherever they lie in memory. */
const BLOCK_BYTES = 32 * 1024;

/** Counts are kept in 32 bits for so many elements, then added up. */
const MAX_COUNTED = 2 ** 31;

/**
 * A meter of elements of 8 or 16 bits: how often each bit pattern occurs says everything. The sums over the patterns do not depend on the
 * order of the elements, and are as good as float64 is.
 *
 * @param table - Values by pattern.
 * @param width - Bytes of an element.
 */
export function createCodeMeter(table: Float64Array, width: 1 | 2): Meter {
	// Two of them: neighbours with the same pattern do not wait for one another's count.
	const even = new Uint32Array(table.length);
	const odd = new Uint32Array(table.length);
	const totals = new Float64Array(table.length);
	const words = new Uint32Array(BLOCK_BYTES / 4);
	const block = new Uint8Array(words.buffer);
	let counted = 0;
	const addUp = (): void => {
		for (let code = 0; code < totals.length; code++) {
			totals[code] = (totals[code] ?? 0) + (even[code] ?? 0) + (odd[code] ?? 0);
		}
		even.fill(0);
		odd.fill(0);
		counted = 0;
	};
	return {
		add(_, bytes) {
			if (counted + bytes.length / width > MAX_COUNTED) addUp();
			counted += bytes.length / width;
			for (let from = 0; from < bytes.length; from += BLOCK_BYTES) {
				const part = bytes.subarray(from, from + BLOCK_BYTES);
				block.set(part);
				const whole = part.length >>> 2;
				if (width === 2) countPairs(words, whole, even, odd);
				else countFours(words, whole, even, odd);
				for (let rest = whole * 4; rest < part.length; rest += width) {
					const code = (block[rest] ?? 0) + (width === 2 ? (block[rest + 1] ?? 0) * 256 : 0);
					even[code] = (even[code] ?? 0) + 1;
				}
			}
		},
		result() {
			addUp();
			return statisticsOf(totals, table);
		},
	};
}

function countPairs(words: Uint32Array, count: number, even: Uint32Array, odd: Uint32Array): void {
	for (let i = 0; i < count; i++) {
		const word = words[i] ?? 0;
		even[word & 0xffff] = (even[word & 0xffff] ?? 0) + 1;
		odd[word >>> 16] = (odd[word >>> 16] ?? 0) + 1;
	}
}

function countFours(words: Uint32Array, count: number, even: Uint32Array, odd: Uint32Array): void {
	for (let i = 0; i < count; i++) {
		const word = words[i] ?? 0;
		const second = (word >>> 8) & 0xff;
		const third = (word >>> 16) & 0xff;
		even[word & 0xff] = (even[word & 0xff] ?? 0) + 1;
		odd[second] = (odd[second] ?? 0) + 1;
		even[third] = (even[third] ?? 0) + 1;
		odd[word >>> 24] = (odd[word >>> 24] ?? 0) + 1;
	}
}

function statisticsOf(totals: Float64Array, table: Float64Array): TensorStatistics {
	const moments = emptyMoments();
	let [elements, nan, inf, zeros] = [0, 0, 0, 0];
	let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
	totals.forEach((count, code) => {
		if (count === 0) return;
		const value = table[code] ?? 0;
		elements += count;
		if (Number.isNaN(value)) {
			nan += count;
			return;
		}
		min = Math.min(min, value);
		max = Math.max(max, value);
		if (value === 0) zeros += count;
		if (Number.isFinite(value)) {
			moments.count += count;
			addToSum(moments, value * count);
		} else inf += count;
	});
	const { count: finite } = moments;
	const mean = finite > 0 ? meanOf(moments) : undefined;
	const isThere = elements > nan;
	return {
		elements,
		nan,
		inf,
		zeros,
		min: isThere ? min : undefined,
		max: isThere ? max : undefined,
		mean,
		std:
			mean !== undefined && finite > 1
				? deviationOf({ ...moments, squares: squaresAround(mean, totals, table) })
				: undefined,
	};
}

/** Sum of the squared distances of the finite values from `mean`. */
function squaresAround(mean: number, totals: Float64Array, table: Float64Array): number {
	const squares = emptyMoments();
	totals.forEach((count, code) => {
		const distance = (table[code] ?? 0) - mean;
		if (count > 0 && Number.isFinite(distance)) addToSum(squares, distance * distance * count);
	});
	return squares.sum + squares.lost;
}
