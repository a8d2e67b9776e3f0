import { at } from "../core/shape.ts";
import type { Draft } from "./region.ts";

/** Rows `first` up to but not including `end` of an axis that is `length` long: where the drafts of one tensor lie. */
export interface Extent {
	readonly length: number;
	readonly first: number;
	readonly end: number;
}

/** A position of every tensor, the same part of the length of each. */
export interface Cut {
	/** What part of the rows comes before it, 0 to 1. */
	readonly part: number;
	readonly positionOf: (tensor: number) => number;
	/** Whether it lies between blocks of elements under one scale. */
	readonly keepsScales: boolean;
}

/** Where the drafts of every tensor lie along an axis. */
export function extentsOf(drafts: readonly Draft[], axis: number): ReadonlyMap<number, Extent> {
	const extents = new Map<number, Extent>();
	for (const { tensor, expr, box } of drafts) {
		const first = at(box.offset, axis);
		const end = first + at(box.size, axis);
		const known = extents.get(tensor);
		extents.set(tensor, {
			length: at(expr.shape, axis),
			first: Math.min(first, known?.first ?? first),
			end: Math.max(end, known?.end ?? end),
		});
	}
	return extents;
}

/**
 * Cuts near `part` (0 to 1) of the rows, the nearest first: at multiples of every divisor of the axis, which are what rows, heads and
 * blocks are.
 *
 * @param scaled - Rows under one scale: at multiples of these as well, whether they divide the axis or not.
 */
export function cutsNear(
	extents: ReadonlyMap<number, Extent>,
	part: number,
	scaled: ReadonlySet<number>,
): readonly Cut[] {
	const [leading] = extents.values();
	if (leading === undefined) return [];
	const { first, end, length } = leading;
	const wanted = first + part * (end - first);
	const positions = new Set<number>();
	for (const unit of new Set([...divisorsOf(length), ...scaled].toSorted((a, b) => a - b))) {
		const lowest = Math.floor(first / unit) + 1;
		const highest = Math.ceil(end / unit) - 1;
		if (lowest > highest) {
			if (scaled.has(unit)) continue;
			break;
		}
		const position = unit * Math.min(highest, Math.max(lowest, Math.round(wanted / unit)));
		// Of an axis that the unit does not divide only this multiple has to have its like in the other tensors.
		const blocks = length % unit === 0 ? length / unit : length / gcd(length, position);
		if ([...extents.values()].every((extent) => extent.length % blocks === 0)) {
			positions.add(position);
		}
	}
	return [...positions].map((position) => ({
		keepsScales: [...scaled].some((rows) => position % rows === 0),
		part: (position - first) / (end - first),
		positionOf: (tensor) =>
			Math.round((position / length) * (extents.get(tensor)?.length ?? length)),
	}));
}

function gcd(a: number, b: number): number {
	return b === 0 ? a : gcd(b, a % b);
}

/** Divisors, ascending. */
function divisorsOf(value: number): readonly number[] {
	const low: number[] = [];
	const high: number[] = [];
	for (let divisor = 1; divisor * divisor <= value; divisor++) {
		if (value % divisor !== 0) continue;
		low.push(divisor);
		if (divisor * divisor !== value) high.push(value / divisor);
	}
	return [...low, ...high.toReversed()];
}
