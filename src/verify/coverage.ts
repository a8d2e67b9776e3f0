import { type Box, boxNumel, formatBox, intersectBoxes } from "../core/box.ts";
import type { CheckpointTensor } from "../core/checkpoint.ts";
import { at, formatShape, numel } from "../core/shape.ts";
import { quote } from "../dcp/corrupt.ts";
import type { Problem } from "./problem.ts";

/** Most overlaps that are told of one tensor. */
const MOST_OVERLAPS = 8;

/**
 * Whether the chunks of every tensor cover it, each element once. torch does not look: it leaves old values in a hole, and of two chunks
 * that overlap the one it reads last counts.
 */
export function checkCoverage(tensors: readonly CheckpointTensor[]): Problem[] {
	return tensors.flatMap(checkTensor);
}

function checkTensor({ fqn, shape, entries }: CheckpointTensor): Problem[] {
	const boxes = entries.map(({ box }) => box);
	const problems: Problem[] = [];
	for (const box of boxes) {
		const isInside =
			box.offset.length === shape.length &&
			box.size.length === shape.length &&
			shape.every((size, axis) => at(box.offset, axis) + at(box.size, axis) <= size);
		if (isInside) continue;
		const message = `chunk ${formatBox(box)} of ${quote(fqn)} is not inside ${formatShape(shape)}`;
		problems.push({ kind: "coverage", message, fqn });
	}
	if (problems.length > 0) return problems;
	const overlaps = findOverlaps(boxes);
	for (const [a, b] of overlaps) {
		const message = `chunks ${formatBox(a)} and ${formatBox(b)} of ${quote(fqn)} overlap`;
		problems.push({ kind: "coverage", message, fqn });
	}
	const covered = boxes.reduce((sum, box) => sum + boxNumel(box), 0);
	const whole = numel(shape);
	if (covered < whole || (overlaps.length > 0 && covered === whole)) {
		const message = `the chunks of ${quote(fqn)} leave a hole: they hold ${covered} of its ${whole} elements`;
		problems.push({ kind: "coverage", message, fqn });
	}
	return problems;
}

/** Pairs that share an element: a sweep along the axis that is cut most often. */
function findOverlaps(boxes: readonly Box[]): (readonly [Box, Box])[] {
	const full = boxes.filter((box) => boxNumel(box) > 0);
	if (full.length < 2) return [];
	const axis = mostCutAxis(full);
	// Of a 0-dim tensor there are two of the same element.
	if (axis < 0) return [[at(full, 0), at(full, 1)]];
	const sorted = full.toSorted((a, b) => at(a.offset, axis) - at(b.offset, axis));
	const overlaps: (readonly [Box, Box])[] = [];
	let open: Box[] = [];
	for (const box of sorted) {
		const start = at(box.offset, axis);
		open = open.filter((other) => at(other.offset, axis) + at(other.size, axis) > start);
		for (const other of open) {
			if (intersectBoxes(other, box) === undefined) continue;
			overlaps.push([other, box]);
			if (overlaps.length >= MOST_OVERLAPS) return overlaps;
		}
		open.push(box);
	}
	return overlaps;
}

function mostCutAxis(boxes: readonly Box[]): number {
	let best = -1;
	let most = 0;
	for (const axis of at(boxes, 0).offset.keys()) {
		const cuts = new Set(boxes.map(({ offset }) => offset[axis])).size;
		if (cuts > most) [best, most] = [axis, cuts];
	}
	return best;
}
