import { type Box, boxKey, boxNumel, intersectBoxes } from "../core/box.ts";
import type { Shard } from "../core/layout.ts";
import { at } from "../core/shape.ts";
import { findOverlap } from "../layout/partition.ts";

/** The blocks that a tensor is stored in, without empty ones. Tensors that are stored alike share one. */
export interface Grid {
	readonly boxes: readonly Box[];
	/** Positions of `boxes` in order of their start along `axis`, and the furthest end up to and including each. */
	readonly order: readonly number[];
	readonly reach: readonly number[];
	/** The dimension that most cuts are along; 0 for a tensor without dimensions. */
	readonly axis: number;
	/** Elements of all boxes. */
	readonly elements: number;
	/** Two boxes with an element in common. */
	readonly overlap: readonly [Box, Box] | undefined;
}

/** What reading one shard from a grid takes. */
export interface ShardReads {
	/** Positions of the stored boxes that are read, in the order in which torch reads them. */
	readonly items: readonly number[];
	/** Elements of the shard. */
	readonly wanted: number;
	/** Elements of the shard that the boxes hold, each as often as it is read. */
	readonly found: number;
}

/** Makes each grid once: most tensors of a model are stored like another. */
export function createGrids(): (boxes: readonly Box[]) => Grid {
	const known = new Map<string, Grid>();
	return (boxes) => {
		const key = boxes.map(boxKey).join(" ");
		let grid = known.get(key);
		if (grid === undefined) known.set(key, (grid = makeGrid(boxes)));
		return grid;
	};
}

function makeGrid(boxes: readonly Box[]): Grid {
	const dims = boxes[0]?.size.length ?? 0;
	const cuts = Array.from(
		{ length: dims },
		(_, d) => new Set(boxes.map((box) => at(box.offset, d))).size,
	);
	const axis = Math.max(0, cuts.indexOf(Math.max(...cuts)));
	const order = boxes
		.map((_, index) => index)
		.toSorted((a, b) => start(at(boxes, a), axis) - start(at(boxes, b), axis));
	let furthest = 0;
	const reach = order.map((index) => (furthest = Math.max(furthest, end(at(boxes, index), axis))));
	const elements = boxes.reduce((sum, box) => sum + boxNumel(box), 0);
	return { boxes, order, reach, axis, elements, overlap: findOverlap(boxes) };
}

/** A tensor without dimensions is one element long along its only axis. */
function start({ offset }: Box, axis: number): number {
	return offset[axis] ?? 0;
}

function end({ offset, size }: Box, axis: number): number {
	return (offset[axis] ?? 0) + (size[axis] ?? 1);
}

/**
 * What each shard reads of a grid: one item for every stored box that has an element of it.
 *
 * @see torch 2.13 `planner_helpers.py` `create_read_items_for_chunk_list`: boxes in the order of their end along the longest
 * dimension.
 */
export function readsOf(grid: Grid, shards: readonly Shard[]): readonly ShardReads[] {
	const longest = longestAxis([...shards.map(({ box }) => box), ...grid.boxes]);
	return shards.map(({ box }) => readsOfBox(grid, box, longest));
}

function readsOfBox({ boxes, order, reach, axis }: Grid, wanted: Box, longest: number): ShardReads {
	const items: number[] = [];
	let found = 0;
	const [from, to] = [start(wanted, axis), end(wanted, axis)];
	for (let place = firstBeyond(reach, from); place < order.length; place++) {
		const index = at(order, place);
		const box = at(boxes, index);
		if (start(box, axis) >= to) break;
		const common = intersectBoxes(box, wanted);
		if (common === undefined) continue;
		found += boxNumel(common);
		items.push(index);
	}
	items.sort((a, b) => end(at(boxes, a), longest) - end(at(boxes, b), longest) || a - b);
	return { items, wanted: boxNumel(wanted), found };
}

/** The first place at which an ascending list is more than `value`. */
function firstBeyond(ascending: readonly number[], value: number): number {
	let low = 0;
	let high = ascending.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (at(ascending, middle) > value) high = middle;
		else low = middle + 1;
	}
	return low;
}

function longestAxis(boxes: readonly Box[]): number {
	const ends = (boxes[0]?.size ?? []).map((_, d) =>
		boxes.reduce((most, box) => Math.max(most, end(box, d)), 0),
	);
	return Math.max(0, ends.indexOf(Math.max(...ends)));
}
