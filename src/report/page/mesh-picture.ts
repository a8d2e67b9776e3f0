import type { Area } from "./area.ts";
import type { Colours } from "./colours.ts";
import { outline } from "./draw.ts";
import type { MeshGrid } from "./mesh-grid.ts";
import type { Model } from "./model.ts";
import type { Selection } from "./selection.ts";

/** Height that all rows share when there are many, pixels. */
const HEIGHT = 360;

/** Cells have no number in them where it would be smaller, pixels. */
const LEAST_TEXT = 7.5;

/** Size of a cell in a picture that is so wide, pixels. */
export function cellSize(
	grid: MeshGrid,
	width: number,
): { readonly width: number; readonly height: number } {
	const cell = width / grid.columns;
	const most = HEIGHT / grid.rows;
	return { width: cell, height: Math.max(2, Math.min(34, cell, most), Math.min(18, most)) };
}

/** Where a rank is drawn; `undefined` when it is not. */
export function rankArea(grid: MeshGrid, rank: number, size: Area): Area | undefined {
	const cell = grid.cellOf(rank);
	if (cell === undefined) return undefined;
	const { width, height } = cellSize(grid, size.width);
	return { x: cell[1] * width, y: cell[0] * height, width, height };
}

/** The rank at a place; −1 for none. */
export function rankAtPlace(grid: MeshGrid, x: number, y: number, size: Area): number {
	const { width, height } = cellSize(grid, size.width);
	const row = Math.floor(y / height);
	const column = Math.floor(x / width);
	const isInside = row >= 0 && row < grid.rows && column >= 0 && column < grid.columns;
	return isInside ? grid.rankAt(row, column) : -1;
}

/** Draws all ranks: those that do not hold the block that is picked are faded, the rank that is picked has a frame. */
export function drawMesh(
	context: CanvasRenderingContext2D,
	size: Area,
	colours: Colours,
	{ grid, model, selection, colourOf }: MeshDrawing,
): void {
	const { rank: picked, tensor, entry } = selection.picked;
	const isBlock = tensor !== undefined && entry !== undefined;
	const holders = isBlock ? model.patternOf(tensor).holders[entry] : undefined;
	const { width, height } = cellSize(grid, size.width);
	const gap = Math.min(width, height) >= 6 ? 1 : 0;
	const text = textSize(model.head.worldSize, width, height);
	context.textAlign = "center";
	context.textBaseline = "middle";
	context.font = `600 ${text}px ${colours.font}`;
	for (let row = 0; row < grid.rows; row++) {
		for (let column = 0; column < grid.columns; column++) {
			const rank = grid.rankAt(row, column);
			if (rank < 0) continue;
			const cell = { x: column * width, y: row * height, width, height };
			const isFaded = holders !== undefined && !model.holds(holders, rank);
			context.globalAlpha = isFaded ? 0.28 : 1;
			context.fillStyle = colourOf(rank);
			context.fillRect(cell.x + gap, cell.y + gap, width - 2 * gap, height - 2 * gap);
			context.globalAlpha = 1;
			if (text >= LEAST_TEXT) {
				context.fillStyle = isFaded ? colours.muted : colours.onRank;
				context.fillText(String(rank), cell.x + width / 2, cell.y + height / 2 + 0.5);
			}
			if (holders !== undefined && !isFaded) outline(context, cell, colours.text, 1.5);
			if (rank === picked) outline(context, cell, colours.accent, 3);
		}
	}
}

/** What {@link drawMesh} draws. */
export interface MeshDrawing {
	readonly grid: MeshGrid;
	readonly model: Model;
	readonly selection: Selection;
	readonly colourOf: (rank: number) => string;
}

function textSize(worldSize: number, width: number, height: number): number {
	const digits = String(Math.max(1, worldSize - 1)).length;
	// A digit is about 0.64 of its size wide.
	return Math.min(13, height * 0.48, (width - 6) / (digits * 0.64));
}
