import type { PackedPattern } from "../packed.ts";
import type { Area } from "./area.ts";
import * as format from "./format.ts";
import {
	cutsOf,
	defaultTensorView,
	entryArea,
	frameOf,
	nearestEntry,
	type TensorView,
	visibleEntries,
} from "./tensor-grid.ts";

/** What is drawn: a tensor, and how it is looked at. */
export interface TensorScene {
	readonly tensor: number;
	readonly pattern: PackedPattern;
	readonly cuts: readonly (readonly number[])[];
	readonly view: TensorView;
	readonly visible: readonly number[];
	readonly isVisible: ReadonlySet<number>;
}

/**
 * The scene of a tensor.
 *
 * @param before - What was shown: a tensor that is cut alike is looked at alike.
 * @param view - How to look at it, if not so.
 */
export function sceneOf(
	tensor: number,
	pattern: PackedPattern,
	before: TensorScene | undefined,
	view?: TensorView,
): TensorScene {
	const alike = before?.pattern === pattern ? before : undefined;
	const cuts = alike?.cuts ?? cutsOf(pattern);
	const next = view ?? alike?.view ?? defaultTensorView(pattern, cuts);
	const visible = visibleEntries(pattern, next);
	return { tensor, pattern, cuts, view: next, visible, isVisible: new Set(visible) };
}

/** The same scene with the other axes held where `entry` begins. */
export function viewOfEntry({ pattern, view }: TensorScene, entry: number): TensorView {
	const axes = pattern.shape.length;
	return { ...view, held: view.held.map((_, axis) => pattern.boxes[entry * 2 * axes + axis] ?? 0) };
}

/** Where an entry is drawn in a picture that is so wide; `undefined` when it is not. */
export function areaInScene(scene: TensorScene, entry: number, width: number): Area | undefined {
	if (!scene.isVisible.has(entry)) return undefined;
	return entryArea(scene.pattern, scene.view, entry, frameOf(scene.pattern, scene.view, width));
}

/** The entry at a place; −1 for none. */
export function entryAtPlace(scene: TensorScene, x: number, y: number, width: number): number {
	const frame = frameOf(scene.pattern, scene.view, width);
	const inside = scene.visible.find((entry) => {
		const area = entryArea(scene.pattern, scene.view, entry, frame);
		const isInX = x >= area.x && x < area.x + area.width;
		return isInX && y >= area.y && y < area.y + area.height;
	});
	return inside ?? -1;
}

/** Where a key leads from an entry; −1 when none was picked. */
export function stepInScene(scene: TensorScene, entry: number, key: string): number | undefined {
	const { pattern, view, visible } = scene;
	if (key === "Home") return visible[0];
	if (key === "End") return visible.at(-1);
	if (!key.startsWith("Arrow")) return undefined;
	if (entry < 0) return visible[0];
	const unit = { width: 1, height: 1 };
	const areas = visible.map((one) => ({ entry: one, area: entryArea(pattern, view, one, unit) }));
	return nearestEntry(areas, entryArea(pattern, view, entry, unit), key);
}

/** What runs where in the picture, and what it does not show. */
export function describeScene({ pattern, view, visible }: TensorScene, width: number): string {
	const { shape } = pattern;
	if (view.across === undefined) return "A single element.";
	const axis = (index: number): string => `axis ${index} (${format.count(shape[index] ?? 0)})`;
	const parts = [`→ ${axis(view.across)}`];
	if (view.down !== undefined) parts.push(`↓ ${axis(view.down)}`);
	const hidden = pattern.holders.length - visible.length;
	if (hidden > 0) parts.push(`${format.plural(hidden, "block")} elsewhere along the other axes`);
	if (!frameOf(pattern, view, width).isToScale) parts.push("each axis to a scale of its own");
	return parts.join("  ·  ");
}
