import type { PackedPattern } from "../packed.ts";
import type { Area } from "./area.ts";

/** Which axes of a tensor are shown, and where the others are held. */
export interface TensorView {
	/** Runs across; `undefined` for a scalar. */
	readonly across: number | undefined;
	/** Runs down; `undefined` for fewer than two axes. */
	readonly down: number | undefined;
	/** For every axis an element that is shown; those of the shown axes do not matter. */
	readonly held: readonly number[];
}

/** First element of every block along every axis, ascending, each once. */
export function cutsOf({ shape, boxes, holders }: PackedPattern): readonly (readonly number[])[] {
	const axes = shape.length;
	return shape.map((_, axis) => {
		const starts = new Set<number>();
		for (let entry = 0; entry < holders.length; entry++) {
			starts.add(boxes[entry * 2 * axes + axis] ?? 0);
		}
		return [...starts].toSorted((a, b) => a - b);
	});
}

/** The two axes with the most cuts, of equally many the longer; the inner one runs across. */
export function defaultTensorView(
	{ shape }: PackedPattern,
	cuts: readonly (readonly number[])[],
): TensorView {
	const order = shape
		.map((_, axis) => axis)
		.toSorted(
			(a, b) =>
				(cuts[b]?.length ?? 0) - (cuts[a]?.length ?? 0) || (shape[b] ?? 0) - (shape[a] ?? 0),
		);
	const [first, second] = order;
	const held = shape.map(() => 0);
	if (first === undefined || second === undefined) return { across: first, down: undefined, held };
	return { across: Math.max(first, second), down: Math.min(first, second), held };
}

/** The entries that the axes which are not shown do not hide, ascending. */
export function visibleEntries(pattern: PackedPattern, view: TensorView): readonly number[] {
	const axes = pattern.shape.length;
	const hidden = pattern.shape.flatMap((_, axis) =>
		axis === view.across || axis === view.down ? [] : [axis],
	);
	const visible: number[] = [];
	for (let entry = 0; entry < pattern.holders.length; entry++) {
		const start = entry * 2 * axes;
		const isShown = hidden.every((axis) => {
			const from = pattern.boxes[start + axis] ?? 0;
			const held = view.held[axis] ?? 0;
			return held >= from && held < from + (pattern.boxes[start + axes + axis] ?? 0);
		});
		if (isShown) visible.push(entry);
	}
	return visible;
}

/** Least and largest height of a picture, pixels. */
const HEIGHTS = [110, 380] as const;

/** A picture is at least so much of the width that there is. */
const LEAST_WIDTH = 0.45;

/** Where a tensor is drawn that is `rows` × `columns`, and whether both axes have the same scale. */
export function frameOf(
	{ shape }: PackedPattern,
	{ across, down }: TensorView,
	available: number,
): { readonly width: number; readonly height: number; readonly isToScale: boolean } {
	if (across === undefined || down === undefined) {
		return { width: available, height: 64, isToScale: true };
	}
	const ratio = (shape[down] ?? 1) / Math.max(1, shape[across] ?? 1);
	const height = Math.max(HEIGHTS[0], Math.min(HEIGHTS[1], available * ratio));
	const width = Math.max(available * LEAST_WIDTH, Math.min(available, height / ratio));
	const isToScale = Math.abs(height / width / ratio - 1) < 0.02;
	return { width, height, isToScale };
}

/** Where an entry is drawn in a frame. */
export function entryArea(
	{ shape, boxes }: PackedPattern,
	{ across, down }: TensorView,
	entry: number,
	frame: { readonly width: number; readonly height: number },
): Area {
	const axes = shape.length;
	const start = entry * 2 * axes;
	const span = (axis: number | undefined, pixels: number): readonly [number, number] => {
		if (axis === undefined) return [0, pixels];
		const scale = pixels / Math.max(1, shape[axis] ?? 1);
		return [(boxes[start + axis] ?? 0) * scale, (boxes[start + axes + axis] ?? 0) * scale];
	};
	const [x, width] = span(across, frame.width);
	const [y, height] = span(down, frame.height);
	return { x, y, width, height };
}

/** The entry that an arrow key leads to: the nearest whose middle lies in that direction; −1 for none. */
export function nearestEntry(
	areas: readonly { readonly entry: number; readonly area: Area }[],
	from: Area,
	key: string,
): number {
	const isAcross = key === "ArrowLeft" || key === "ArrowRight";
	const sign = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
	const middle = ({ x, y, width, height }: Area): readonly [number, number] =>
		isAcross ? [x + width / 2, y + height / 2] : [y + height / 2, x + width / 2];
	const [along, beside] = middle(from);
	let best = -1;
	let least = Number.POSITIVE_INFINITY;
	for (const { entry, area } of areas) {
		const [a, b] = middle(area);
		const ahead = (a - along) * sign;
		if (ahead <= 0.01) continue;
		const cost = ahead + 4 * Math.abs(b - beside);
		if (cost >= least) continue;
		least = cost;
		best = entry;
	}
	return best;
}
