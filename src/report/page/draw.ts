import type { Area } from "./area.ts";

/** A frame inside the edges of an area. */
export function outline(
	context: CanvasRenderingContext2D,
	{ x, y, width, height }: Area,
	colour: string,
	line: number,
): void {
	context.strokeStyle = colour;
	context.lineWidth = line;
	context.strokeRect(
		x + line / 2,
		y + line / 2,
		Math.max(1, width - line),
		Math.max(1, height - line),
	);
}
