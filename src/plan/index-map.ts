import { at } from "../core/shape.ts";

/** One loop over the elements of a box. */
export interface Loop {
	readonly size: number;
	/** Elements between neighbouring iterations in the target box. */
	readonly targetStride: number;
}

/** The index along one axis: `base + Σ steps[l] · i_l` over the loops of the map. Steps are not negative. */
export interface AxisIndex {
	readonly base: number;
	readonly steps: readonly number[];
}

/**
 * A set of elements and where each goes: for every index vector over `loops`, the element at `axes` belongs at
 * `targetOffset + Σ i·targetStride`. Affine in the loops; what is not affine becomes several maps.
 */
export interface IndexMap {
	readonly loops: readonly Loop[];
	readonly axes: readonly AxisIndex[];
	readonly targetOffset: number;
}

/** The same map with its axes replaced. */
export function withAxes(map: IndexMap, axes: readonly AxisIndex[]): IndexMap {
	return { loops: map.loops, axes, targetOffset: map.targetOffset };
}

/** The iterations `[start, start + count)` of loop `l` alone. */
function restrictLoop(map: IndexMap, l: number, start: number, count: number): IndexMap {
	const loop = at(map.loops, l);
	return {
		loops: map.loops.map((other, k) => (k === l ? { ...other, size: count } : other)),
		axes: map.axes.map((axis) => ({
			base: axis.base + at(axis.steps, l) * start,
			steps: axis.steps,
		})),
		targetOffset: map.targetOffset + loop.targetStride * start,
	};
}

/** Loop `l` of size `outer · inner` as two loops, the inner one last in the list. */
function nestLoop(map: IndexMap, l: number, inner: number): IndexMap {
	const loop = at(map.loops, l);
	const outerLoop = { size: loop.size / inner, targetStride: loop.targetStride * inner };
	const innerLoop = { size: inner, targetStride: loop.targetStride };
	return {
		loops: [...map.loops.map((other, k) => (k === l ? outerLoop : other)), innerLoop],
		axes: map.axes.map((axis) => ({
			base: axis.base,
			steps: [...axis.steps.map((step, k) => (k === l ? step * inner : step)), at(axis.steps, l)],
		})),
		targetOffset: map.targetOffset,
	};
}

/** The loop of more than one iteration that moves `axis` by the largest step `accept` allows; −1 when none moves it. */
function largestLoop(map: IndexMap, axis: AxisIndex, accept: (step: number) => boolean): number {
	let best = -1;
	for (let l = 0; l < map.loops.length; l++) {
		const step = at(axis.steps, l);
		if (at(map.loops, l).size < 2 || step === 0 || !accept(step)) continue;
		if (best < 0 || step > at(axis.steps, best)) best = l;
	}
	return best;
}

/** How far loops that `accept` takes move `axis` from its base at most. */
function reach(
	map: IndexMap,
	axis: AxisIndex,
	accept: (step: number, l: number) => boolean,
): number {
	let sum = 0;
	for (let l = 0; l < map.loops.length; l++) {
		const step = at(axis.steps, l);
		if (accept(step, l)) sum += step * (at(map.loops, l).size - 1);
	}
	return sum;
}

/**
 * Cuts a map where one of its axes crosses the boundaries of parts that lie one after the other.
 *
 * @param position - Which axis.
 * @param ends - One past the last index of each part, ascending; the last is the length of the axis.
 * @returns Maps that cover the same elements, each inside the part it names.
 */
export function cutAtBoundaries(
	map: IndexMap,
	position: number,
	ends: readonly number[],
): readonly { readonly map: IndexMap; readonly part: number }[] {
	const done: { map: IndexMap; part: number }[] = [];
	const todo = [map];
	for (let current = todo.pop(); current !== undefined; current = todo.pop()) {
		const axis = at(current.axes, position);
		const part = firstAbove(ends, axis.base);
		const end = at(ends, part);
		if (axis.base + reach(current, axis, () => true) < end) {
			done.push({ map: current, part });
			continue;
		}
		const l = largestLoop(current, axis, () => true);
		const { size } = at(current.loops, l);
		const step = at(axis.steps, l);
		const rest = reach(current, axis, (_, k) => k !== l);
		// Iterations before `below` stay under the boundary whatever the other loops do; from `above` on all are past it.
		const below = Math.max(0, Math.floor((end - 1 - rest - axis.base) / step) + 1);
		const above = Math.min(size, Math.ceil((end - axis.base) / step));
		if (above < size) todo.push(restrictLoop(current, l, above, size - above));
		for (let i = below; i < above; i++) todo.push(restrictLoop(current, l, i, 1));
		if (below > 0) todo.push(restrictLoop(current, l, 0, below));
	}
	return done;
}

/** Index of the first number above `value`; `numbers` ascend. */
function firstAbove(numbers: readonly number[], value: number): number {
	let [low, high] = [0, numbers.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (at(numbers, middle) <= value) low = middle + 1;
		else high = middle;
	}
	return low;
}

/**
 * Replaces one axis by two: index = `modulus · outer + inner`.
 *
 * @param position - Which axis; `outer` takes its place and `inner` follows it.
 * @returns Maps that cover the same elements; several where the inner index would carry over.
 */
export function divideAxis(map: IndexMap, position: number, modulus: number): readonly IndexMap[] {
	const done: IndexMap[] = [];
	const todo = [map];
	const isInner = (step: number): boolean => step % modulus !== 0;
	for (let current = todo.pop(); current !== undefined; current = todo.pop()) {
		const axis = at(current.axes, position);
		const inner = axis.base % modulus;
		if (inner + reach(current, axis, isInner) < modulus) {
			const outerAxis = {
				base: (axis.base - inner) / modulus,
				steps: axis.steps.map((step) => (isInner(step) ? 0 : step / modulus)),
			};
			const innerAxis = {
				base: inner,
				steps: axis.steps.map((step) => (isInner(step) ? step : 0)),
			};
			done.push(withAxes(current, current.axes.toSpliced(position, 1, outerAxis, innerAxis)));
		} else {
			todo.push(...cutCarry(current, axis, modulus, inner));
		}
	}
	return done;
}

/** Cuts the largest inner loop into the part before the first carry, whole periods, and the rest. */
function cutCarry(
	map: IndexMap,
	axis: AxisIndex,
	modulus: number,
	inner: number,
): readonly IndexMap[] {
	const isInner = (step: number): boolean => step % modulus !== 0;
	const l = largestLoop(map, axis, isInner);
	const { size } = at(map.loops, l);
	const step = at(axis.steps, l);
	const rest = reach(map, axis, (other, k) => k !== l && isInner(other));
	if (step < modulus && modulus % step === 0 && (inner % step) + rest < step) {
		const period = modulus / step;
		const phase = Math.floor(inner / step);
		const head = phase === 0 ? 0 : Math.min(size, period - phase);
		const whole = Math.floor((size - head) / period) * period;
		const tail = size - head - whole;
		const cuts: IndexMap[] = [];
		if (head > 0) cuts.push(restrictLoop(map, l, 0, head));
		if (whole > 0) cuts.push(nestLoop(restrictLoop(map, l, head, whole), l, period));
		if (tail > 0) cuts.push(restrictLoop(map, l, head + whole, tail));
		if (cuts.length > 1 || whole > 0) return cuts;
	}
	const half = Math.floor(size / 2);
	return [restrictLoop(map, l, 0, half), restrictLoop(map, l, half, size - half)];
}
