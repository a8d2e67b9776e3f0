import type { Box } from "../core/box.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { at, contiguousStrides, type Shape } from "../core/shape.ts";

/** One loop over elements; `stride` in elements, at least 1. */
export interface TallyLoop {
	readonly size: number;
	readonly stride: number;
}

/** Elements `first + Σ i·stride` of a tensor, for all `0 ≤ i < size` of every loop. */
export interface ElementSet {
	readonly first: number;
	/** Largest stride first; no size of 1; what an inner loop spans is less than the stride of the outer one. */
	readonly loops: readonly TallyLoop[];
}

/** How often the elements of a tensor are in sets. */
export interface Tally {
	/** Elements that are in none. */
	readonly never: number;
	/** Elements that are in more than one. */
	readonly repeatedly: number;
}

/** Sets that one comparison may come to; beyond it the elements are scattered in a way that no recipe of a model is. */
const MOST_SETS = 1 << 20;

/** The set of these loops; a stride of 0 does not lead to other elements, and neighbours that are contiguous are joined. */
export function elementSet(first: number, loops: readonly TallyLoop[]): ElementSet {
	const joined: TallyLoop[] = [];
	const moving = loops.filter(({ size, stride }) => size > 1 && stride > 0);
	for (const loop of moving.toSorted((a, b) => b.stride - a.stride)) {
		const outer = joined.at(-1);
		if (outer?.stride === loop.stride * loop.size) {
			joined[joined.length - 1] = { size: outer.size * loop.size, stride: loop.stride };
		} else joined.push(loop);
	}
	return { first, loops: joined };
}

/** The elements of `box`, counted in row-major order of `shape`. */
export function boxElements(box: Box, shape: Shape): ElementSet {
	const strides = contiguousStrides(shape);
	const first = box.offset.reduce((sum, offset, d) => sum + offset * at(strides, d), 0);
	return elementSet(
		first,
		box.size.map((size, d) => ({ size, stride: at(strides, d) })),
	);
}

/**
 * How often each of `length` elements is in `sets`, which lie within them. Exact: it does not add up sizes, it compares places. Costs
 * follow the number of sets and of their loops, not of elements.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the sets are too scattered to compare.
 */
export function tallyOf(sets: readonly ElementSet[], length: number): Tally {
	if (length === 0) return { never: 0, repeatedly: 0 };
	if (sets.length === 0) return { never: length, repeatedly: 0 };
	const stride = sets.reduce((max, { loops }) => Math.max(max, loops[0]?.stride ?? 1), 1);
	if (stride === 1) {
		const spans = sets.map((set) => ({ start: set.first, count: set.loops[0]?.size ?? 1 }));
		return sweep(spans, length, (active, width) => countSpans(active.length, width));
	}
	// All elements in rows of `stride`: runs of rows that have the same sets in them are compared once.
	const rows = sets.flatMap((set) => rowsOf(set, stride));
	if (rows.length > MOST_SETS) throw tooScattered();
	const whole = Math.floor(length / stride);
	const within = (active: readonly Rows[], count: number, width: number): Tally => {
		const inner = tallyOf(
			active.map(({ set }) => set),
			width,
		);
		return { never: inner.never * count, repeatedly: inner.repeatedly * count };
	};
	const head = sweep(rows, whole, (active, count) => within(active, count, stride));
	const rest = length - whole * stride;
	if (rest === 0) return head;
	const last = rows.filter(({ start, count }) => start <= whole && start + count > whole);
	return add(head, within(last, 1, rest));
}

/** Rows `start` up to but not including `start + count`, each with the elements of `set`. */
interface Rows {
	readonly start: number;
	readonly count: number;
	readonly set: ElementSet;
}

function rowsOf(set: ElementSet, width: number): readonly Rows[] {
	const [outer, ...inner] = set.loops;
	const start = Math.floor(set.first / width);
	const first = set.first - start * width;
	if (outer === undefined) return [{ start, count: 1, set: { first, loops: [] } }];
	const span = spanOf(inner);
	if (outer.stride === width && first + span < width) {
		return [{ start, count: outer.size, set: { first, loops: inner } }];
	}
	if (first + span + outer.stride * (outer.size - 1) < width) {
		return [{ start, count: 1, set: { first, loops: set.loops } }];
	}
	const { stride } = outer;
	if (width % stride === 0 && (first % stride) + span < stride) return wrapped(set, width);
	// Something that begins in one row and ends in the next: taken apart.
	if (outer.size > MOST_SETS) throw tooScattered();
	return Array.from({ length: outer.size }, (_, i) =>
		rowsOf({ first: set.first + i * stride, loops: inner }, width),
	).flat();
}

/** A loop of equal steps that goes on from row to row: the rest of the first row, whole rows, the beginning of the last. */
function wrapped(set: ElementSet, width: number): readonly Rows[] {
	const [outer = { size: 1, stride: 1 }, ...inner] = set.loops;
	const perRow = width / outer.stride;
	const phase = set.first % outer.stride;
	const loopsOf = (size: number): readonly TallyLoop[] =>
		elementSet(0, [{ size, stride: outer.stride }, ...inner]).loops;
	let row = Math.floor(set.first / width);
	let left = outer.size;
	const rows: Rows[] = [];
	const offset = (set.first % width) - phase;
	if (offset > 0) {
		const size = Math.min(left, perRow - offset / outer.stride);
		rows.push({ start: row, count: 1, set: { first: offset + phase, loops: loopsOf(size) } });
		row++;
		left -= size;
	}
	const count = Math.floor(left / perRow);
	if (count > 0) {
		rows.push({ start: row, count, set: { first: phase, loops: loopsOf(perRow) } });
	}
	const size = left - count * perRow;
	if (size > 0) {
		rows.push({ start: row + count, count: 1, set: { first: phase, loops: loopsOf(size) } });
	}
	return rows;
}

function spanOf(loops: readonly TallyLoop[]): number {
	return loops.reduce((sum, { size, stride }) => sum + stride * (size - 1), 0);
}

/** Adds up `measure` over the stretches of `[0, end)` between which the spans that are there change. */
function sweep<S extends { readonly start: number; readonly count: number }>(
	spans: readonly S[],
	end: number,
	measure: (active: readonly S[], width: number) => Tally,
): Tally {
	const begins = spans.toSorted((a, b) => a.start - b.start);
	const edges = new Set([0, end]);
	for (const { start, count } of spans) {
		edges.add(Math.min(start, end));
		edges.add(Math.min(start + count, end));
	}
	const places = [...edges].toSorted((a, b) => a - b);
	let sum: Tally = { never: 0, repeatedly: 0 };
	let active: S[] = [];
	let next = 0;
	for (const [index, place] of places.slice(0, -1).entries()) {
		active = active.filter(({ start, count }) => start + count > place);
		for (; (begins[next]?.start ?? Infinity) <= place; next++) active.push(at(begins, next));
		sum = add(sum, measure(active, at(places, index + 1) - place));
	}
	return sum;
}

function countSpans(count: number, width: number): Tally {
	return { never: count === 0 ? width : 0, repeatedly: count > 1 ? width : 0 };
}

function add(a: Tally, b: Tally): Tally {
	return { never: a.never + b.never, repeatedly: a.repeatedly + b.repeatedly };
}

function tooScattered(): HfStreamDcpError {
	return new HfStreamDcpError(
		"RECIPE_INVALID",
		"the elements that a recipe uses are too scattered to prove that each is used once",
		{ hint: "Write the rule with whole rows: slices and permutations of a few axes." },
	);
}
