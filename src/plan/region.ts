import { type Box, boundingBox, boxNumel } from "../core/box.ts";
import type { Expr } from "../core/expr.ts";
import { at } from "../core/shape.ts";
import type { Footprint } from "./footprint.ts";
import { type Hull, hullsOf } from "./hulls.ts";
import { boxIn } from "./parts.ts";
import type { Places } from "./places.ts";
import { pull } from "./pull.ts";
import type { AxisSpan } from "./types.ts";

/** An entry while the plan is made: its file offset is not known yet. */
export interface Draft {
	/** Index of its tensor. */
	readonly tensor: number;
	readonly expr: Expr;
	readonly box: Box;
	/** The rank whose file holds it. */
	readonly rank: number;
	/** Which of the tensor's shards it is, or a part of. */
	readonly shard: number;
}

/** The same rows of some drafts. */
export interface Region {
	readonly drafts: readonly Draft[];
	/** Rows of the global tensor; of each draft what it has of them, which is not nothing. */
	readonly spans: readonly AxisSpan[];
}

/** What of a box lies in the spans of a region. */
export function clip(box: Box, spans: readonly AxisSpan[]): Box {
	return boxIn(box, spansWithin(box, spans));
}

/** The spans as those of a {@link PlanSlab}: inside the box, and none that is an axis as it is. */
export function spansWithin(box: Box, spans: readonly AxisSpan[]): readonly AxisSpan[] {
	const within: AxisSpan[] = [];
	for (const { axis, start, end } of spans) {
		const first = at(box.offset, axis);
		const last = first + at(box.size, axis);
		if (start <= first && end >= last) continue;
		within.push({ axis, start: Math.max(start, first), end: Math.min(end, last) });
	}
	return within;
}

/** A region whose source bytes are fetched together, and those bytes. */
export interface Atom extends Region, Footprint {}

/**
 * The hulls of all that a region reads.
 *
 * Drafts of one tensor that tile a box (all shards of a tensor do) read what the box reads, however many they are.
 */
export function hullsOfRegion({ drafts, spans }: Region, places: Places): Hull[] {
	const byTensor = new Map<number, { readonly expr: Expr; readonly boxes: Box[] }>();
	for (const { tensor, expr, box } of drafts) {
		const group = byTensor.get(tensor) ?? { expr, boxes: [] };
		byTensor.set(tensor, group);
		group.boxes.push(clip(box, spans));
	}
	return [...byTensor.values()].flatMap(({ expr, boxes }) => {
		const around = boundingBox(boxes);
		const filled = boxes.reduce((sum, box) => sum + boxNumel(box), 0);
		const read = filled === boxNumel(around) ? [around] : boxes;
		return read.flatMap((box) => hullsOf(pull(expr, box), places));
	});
}
