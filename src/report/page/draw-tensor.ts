import type { Area } from "./area.ts";
import type { Colours } from "./colours.ts";
import { outline } from "./draw.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";
import type { Selection } from "./selection.ts";
import { entryArea, frameOf } from "./tensor-grid.ts";
import type { TensorScene } from "./tensor-scene.ts";

/** What {@link drawTensor} draws. */
export interface TensorDrawing {
	readonly scene: TensorScene;
	readonly model: Model;
	readonly selection: Selection;
	readonly colourOf: (rank: number) => string;
}

/** Blocks narrower than this have no edges of their own, pixels. */
const EDGED = 4;

/** Draws the blocks: those that the rank which is picked holds have a frame, the others are faded. */
export function drawTensor(
	context: CanvasRenderingContext2D,
	size: Area,
	colours: Colours,
	drawing: TensorDrawing,
): void {
	const { scene, selection } = drawing;
	const { pattern, view, visible, isVisible } = scene;
	const frame = frameOf(pattern, view, size.width);
	context.textAlign = "center";
	context.textBaseline = "middle";
	for (const entry of visible) {
		drawBlock(context, entryArea(pattern, view, entry, frame), colours, drawing, entry);
	}
	const { entry: picked } = selection.picked;
	if (picked !== undefined && isVisible.has(picked)) {
		outline(context, entryArea(pattern, view, picked, frame), colours.accent, 3);
	}
	outline(context, { x: 0, y: 0, ...frame }, colours.line, 1);
}

function drawBlock(
	context: CanvasRenderingContext2D,
	area: Area,
	colours: Colours,
	{ scene, model, selection, colourOf }: TensorDrawing,
	entry: number,
): void {
	const { rank } = selection.picked;
	const holders = scene.pattern.holders[entry] ?? 0;
	const isHeld = rank !== undefined && model.holds(holders, rank);
	const isFaded = rank !== undefined && !isHeld;
	context.globalAlpha = isFaded ? 0.25 : 1;
	context.fillStyle = colourOf(model.firstRankOf(holders));
	context.fillRect(area.x, area.y, Math.max(0.5, area.width), Math.max(0.5, area.height));
	context.globalAlpha = 1;
	if (isHeld || (area.width >= EDGED && area.height >= EDGED)) {
		outline(context, area, isHeld ? colours.text : colours.surface, isHeld ? 2 : 1);
	}
	const colour = isFaded ? colours.muted : colours.onRank;
	labelArea(context, area, labelOfHolders(model, holders), colour, colours);
}

function labelArea(
	context: CanvasRenderingContext2D,
	{ x, y, width, height }: Area,
	text: string,
	colour: string,
	{ font }: Colours,
): void {
	if (height < 15 || width < 14) return;
	context.font = `600 12px ${font}`;
	if (context.measureText(text).width > width - 6) return;
	context.fillStyle = colour;
	context.fillText(text, x + width / 2, y + height / 2 + 0.5);
}

/** `3`, `0–7`, `0 +3`: the ranks in as few letters as fit into a block. */
function labelOfHolders(model: Model, holders: number): string {
	const ranges = model.rangesOf(holders);
	const [first] = ranges;
	if (first === undefined) return "?";
	if (ranges.length === 1) return first[0] === first[1] ? `${first[0]}` : `${first[0]}–${first[1]}`;
	const all = ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
	return `${first[0]} +${format.count(all - 1)}`;
}
