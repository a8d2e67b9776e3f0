import { replaceKeepingFocus, select, slider } from "./controls.ts";
import { h } from "./dom.ts";
import { drawTensor } from "./draw-tensor.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";
import { createPicture } from "./picture.ts";
import type { Selection } from "./selection.ts";
import { frameOf, type TensorView } from "./tensor-grid.ts";
import {
	areaInScene,
	describeScene,
	entryAtPlace,
	sceneOf,
	stepInScene,
	type TensorScene,
	viewOfEntry,
} from "./tensor-scene.ts";

/** A tensor's blocks as a picture, drawn to scale. */
export interface TensorPicture {
	readonly element: HTMLElement;
	/** Marks an entry that is pointed at elsewhere; −1 for none. */
	readonly point: (entry: number) => void;
}

/** The blocks of the tensor that is picked, each in the colour of the first rank that holds it. */
export function createTensorPicture(
	model: Model,
	selection: Selection,
	colourOf: (rank: number) => string,
): TensorPicture {
	let scene = model.tensorCount === 0 ? undefined : sceneOf(0, model.patternOf(0), undefined);
	const controls = h("div", { class: "controls" });
	const legend = h("p", { class: "muted axes-legend" });
	const picture = createPicture({
		id: "tensor-picture",
		label: () => labelOf(model, scene),
		heightFor: (width) => (scene ? frameOf(scene.pattern, scene.view, width).height : 0),
		areaOf: (entry, { width }) => scene && areaInScene(scene, entry, width),
		itemAt: (x, y, { width }) => (scene ? entryAtPlace(scene, x, y, width) : -1),
		neighbourOf: (entry, key) => scene && stepInScene(scene, entry, key),
		describe: (entry) => (scene ? describeEntry(model, scene.tensor, entry) : ""),
		onPick: (entry) => selection.pick({ entry }),
		onClear: () => selection.pick({ entry: undefined }),
		draw(context, size, colours) {
			if (scene) drawTensor(context, size, colours, { scene, model, selection, colourOf });
		},
	});
	const look = (tensor: number, view?: TensorView): void => {
		scene = sceneOf(tensor, model.patternOf(tensor), scene, view);
		replaceKeepingFocus(
			controls,
			controlsOf(scene, (changed) => {
				look(tensor, changed);
				refresh();
			}),
		);
	};
	const refresh = (): void => {
		if (scene === undefined) return;
		legend.textContent = describeScene(scene, picture.element.clientWidth);
		picture.update(selection.picked.entry ?? -1, model.entryCountOf(scene.tensor));
	};
	selection.onChange(({ tensor, entry }, before) => {
		if (tensor === undefined) return;
		if (tensor !== before.tensor) look(tensor);
		if (entry !== undefined && scene !== undefined && !scene.isVisible.has(entry)) {
			look(tensor, viewOfEntry(scene, entry));
		}
		refresh();
	});
	const element = h("div", { class: "tensor-picture" }, controls, picture.element, legend);
	return { element, point: picture.point };
}

function labelOf(model: Model, scene: TensorScene | undefined): string {
	if (scene === undefined) return "Blocks of a tensor";
	return `${format.plural(scene.visible.length, "block")} of ${model.nameOf(scene.tensor)}`;
}

/** `[0:64, 0:5120], held by rank 3, 0.66 MB` */
function describeEntry(model: Model, tensor: number, entry: number): string {
	const { box, holders } = model.entryOf(tensor, entry);
	const who = format.ranks(model.rangesOf(holders), 4);
	const bytes = format.bytes(model.entryBytesOf(tensor, entry));
	return `${format.box(box.offset, box.size)}, held by ${who}, ${bytes}`;
}

/** Which two axes of three or more, and where the others are held that are cut. */
function controlsOf(
	{ pattern: { shape }, cuts, view }: TensorScene,
	change: (view: TensorView) => void,
): HTMLElement[] {
	const { across, down, held } = view;
	if (shape.length < 3 || across === undefined || down === undefined) return [];
	const names = shape.map((size, axis) => `axis ${axis} (${format.count(size)})`);
	const setAcross = (axis: number): void =>
		change({ across: axis, down: axis === down ? across : down, held });
	const setDown = (axis: number): void =>
		change({ down: axis, across: axis === across ? down : across, held });
	const others = shape.flatMap((_, axis) => (axis === across || axis === down ? [] : [axis]));
	return [
		select("Across", names, across, setAcross),
		select("Down", names, down, setDown),
		...others.flatMap((axis) => {
			const starts = cuts[axis] ?? [];
			if (starts.length < 2) return [];
			const now = Math.max(
				0,
				starts.findLastIndex((start) => start <= (held[axis] ?? 0)),
			);
			const set = (index: number): void =>
				change({
					...view,
					held: held.map((own, i) => (i === axis ? (starts[index] ?? own) : own)),
				});
			return [
				slider(`axis ${axis}`, starts.length, now, set, (index) => `at ${starts[index] ?? 0}`),
			];
		}),
	];
}
