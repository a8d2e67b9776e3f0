import type { DequantExpr } from "../core/expr.ts";
import type { DequantDim } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import type { AxisIndex, IndexMap, Loop } from "./index-map.ts";

/** Elements in loops of which each moves the element and the scale by a fixed number of places. */
export interface Segment {
	readonly sourceOffset: number;
	readonly scaleOffset: number;
	readonly targetOffset: number;
	readonly dims: readonly DequantDim[];
}

/** An axis of quantised weights: how far apart neighbours are in their tensor, and in that of the scales. */
interface BlockedAxis {
	readonly block: number;
	readonly unit: number;
	readonly scaleUnit: number;
}

/**
 * The segments of a map in which every axis is walked by one loop at most, one element at a time where more than one has the same
 * scale: a block of a tensor, in any order of its axes. The common case, in few steps.
 *
 * @returns `undefined` for any other map.
 */
export function straightSegments(expr: DequantExpr, map: IndexMap): readonly Segment[] | undefined {
	let segments: readonly Segment[] = [
		{ sourceOffset: 0, scaleOffset: 0, targetOffset: map.targetOffset, dims: [] },
	];
	let unit = 1;
	let scaleUnit = 1;
	for (let d = expr.shape.length - 1; d >= 0; d--) {
		const along = segmentsAlong(at(map.axes, d), map.loops, {
			block: at(expr.block, d),
			unit,
			scaleUnit,
		});
		if (along === undefined) return undefined;
		segments = segments.flatMap((one) => along.map((other) => joined(one, other)));
		unit *= at(expr.shape, d);
		scaleUnit *= at(expr.scales.shape, d);
	}
	return segments;
}

function joined(one: Segment, other: Segment): Segment {
	return {
		sourceOffset: one.sourceOffset + other.sourceOffset,
		scaleOffset: one.scaleOffset + other.scaleOffset,
		targetOffset: one.targetOffset + other.targetOffset,
		dims: one.dims.length === 0 ? other.dims : [...one.dims, ...other.dims],
	};
}

/** What one axis contributes: the end of a block, whole blocks, the beginning of one. */
function segmentsAlong(
	{ base, steps }: AxisIndex,
	loops: readonly Loop[],
	axis: BlockedAxis,
): readonly Segment[] | undefined {
	let loop: Loop | undefined;
	let step = 0;
	for (const [l, candidate] of loops.entries()) {
		if (steps[l] === 0 || candidate.size === 1) continue;
		if (loop !== undefined) return undefined;
		loop = candidate;
		step = at(steps, l);
	}
	if (loop === undefined) return [segmentAt(axis, { base, first: 0, targetStride: 0 }, [])];
	const { size, targetStride } = loop;
	const { block, unit, scaleUnit } = axis;
	if (block === 1) {
		const dim = { size, sourceStride: step * unit, scaleStride: step * scaleUnit, targetStride };
		return [segmentAt(axis, { base, first: 0, targetStride }, [dim])];
	}
	if (step !== 1) return undefined;
	const head = Math.min(size, (block - (base % block)) % block);
	const whole = Math.floor((size - head) / block);
	const tail = size - head - whole * block;
	const inner = (count: number): DequantDim => {
		return { size: count, sourceStride: unit, scaleStride: 0, targetStride };
	};
	const outer: DequantDim = {
		size: whole,
		sourceStride: block * unit,
		scaleStride: scaleUnit,
		targetStride: block * targetStride,
	};
	const segments: Segment[] = [];
	const add = (first: number, dims: readonly DequantDim[]): unknown =>
		segments.push(segmentAt(axis, { base: base + first, first, targetStride }, dims));
	if (head > 0) add(0, [inner(head)]);
	if (whole > 0) add(head, [outer, inner(block)]);
	if (tail > 0) add(size - tail, [inner(tail)]);
	return segments;
}

/** A segment that begins with element `base` of an axis, iteration `first` of its loop. */
function segmentAt(
	{ block, unit, scaleUnit }: BlockedAxis,
	at_: { readonly base: number; readonly first: number; readonly targetStride: number },
	dims: readonly DequantDim[],
): Segment {
	return {
		sourceOffset: at_.base * unit,
		scaleOffset: Math.floor(at_.base / block) * scaleUnit,
		targetOffset: at_.first * at_.targetStride,
		dims,
	};
}
