import type { Area } from "./area.ts";
import type { Colours } from "./colours.ts";
import { h } from "./dom.ts";
import { outline } from "./draw.ts";
import * as format from "./format.ts";
import type { Model } from "./model.ts";
import { createPicture } from "./picture.ts";
import type { Selection } from "./selection.ts";

const HEIGHT = 180;

/** Room above the highest bar, pixels. */
const HEAD = 18;

/** Bytes that each rank holds, as bars; one of them can be picked. Where there are more ranks than room, a bar is the largest of several. */
export function createRankBars(
	model: Model,
	selection: Selection,
	colourOf: (rank: number) => string,
): HTMLElement {
	const { rankBytes } = model;
	const ranks = rankBytes.length;
	const figures = figuresOf(rankBytes);
	const { most } = figures;
	const barsIn = (width: number): number => Math.max(1, Math.min(ranks, Math.floor(width / 3)));
	const areaOf = (rank: number, { width, height }: Area): Area => {
		const bars = barsIn(width);
		const bar = Math.floor((rank * bars) / ranks);
		const step = width / bars;
		const scaled = most === 0 ? 0 : ((rankBytes[rank] ?? 0) / most) * (height - HEAD);
		return { x: bar * step, y: height - scaled, width: step, height: scaled };
	};
	const picture = createPicture({
		id: "rank-bars",
		label: () => "Bytes per rank",
		heightFor: () => HEIGHT,
		areaOf: (rank, size) => areaOf(rank, size),
		itemAt: (x, _y, { width }) => Math.max(0, Math.min(ranks - 1, Math.floor((x / width) * ranks))),
		neighbourOf: (rank, key) => stepFrom(rank, key, ranks),
		describe: (rank) => `rank ${rank}: ${format.bytes(rankBytes[rank] ?? 0)}`,
		onPick: (rank) => selection.pick({ rank }),
		onClear: () => selection.pick({ rank: undefined }),
		draw: (context, size, colours) =>
			drawBars(context, size, colours, {
				areas: rankBytes.length,
				areaOf,
				colourOf,
				isSpaced: size.width / barsIn(size.width) >= 8,
				mean: most === 0 ? 0 : figures.mean / most,
				picked: selection.picked.rank,
			}),
	});
	selection.onChange(() => picture.update(selection.picked.rank ?? -1, ranks));
	picture.update(-1, ranks);
	return h(
		"div",
		{},
		h("p", { class: "muted", id: "rank-bytes-summary" }, summaryOf(figures)),
		picture.element,
		h(
			"p",
			{ class: "axis-ends muted", "aria-hidden": "true" },
			h("span", {}, "rank 0"),
			h("span", {}, `rank ${ranks - 1}`),
		),
	);
}

function stepFrom(rank: number, key: string, ranks: number): number | undefined {
	switch (key) {
		case "ArrowLeft":
		case "ArrowDown":
			return rank < 0 ? ranks - 1 : rank - 1;
		case "ArrowRight":
		case "ArrowUp":
			return rank + 1;
		case "Home":
			return 0;
		case "End":
			return ranks - 1;
		default:
			return undefined;
	}
}

interface BarsDrawing {
	/** Number of ranks. */
	readonly areas: number;
	readonly areaOf: (rank: number, size: Area) => Area;
	readonly colourOf: (rank: number) => string;
	/** Whether there is room between the bars. */
	readonly isSpaced: boolean;
	/** Height of the line of the mean, of that of the highest bar. */
	readonly mean: number;
	readonly picked: number | undefined;
}

function drawBars(
	context: CanvasRenderingContext2D,
	size: Area,
	colours: Colours,
	{ areas, areaOf, colourOf, isSpaced, mean, picked }: BarsDrawing,
): void {
	const gap = isSpaced ? 1 : 0;
	for (let rank = 0; rank < areas; rank++) {
		const { x, y, width, height } = areaOf(rank, size);
		context.fillStyle = colourOf(rank);
		context.fillRect(x + gap, y, Math.max(1, width - 2 * gap), height);
	}
	const meanY = Math.round(size.height - mean * (size.height - HEAD)) + 0.5;
	context.strokeStyle = colours.text;
	context.lineWidth = 1;
	context.setLineDash([4, 4]);
	context.beginPath();
	context.moveTo(0, meanY);
	context.lineTo(size.width, meanY);
	context.stroke();
	context.setLineDash([]);
	if (picked === undefined) return;
	const { x, width } = areaOf(picked, size);
	outline(context, { x, y: 0, width: Math.max(4, width), height: size.height }, colours.accent, 2);
}

interface BarFigures {
	readonly least: number;
	readonly most: number;
	readonly mean: number;
}

function figuresOf(rankBytes: Float64Array): BarFigures {
	return {
		least: rankBytes.reduce((min, bytes) => Math.min(min, bytes), Number.POSITIVE_INFINITY),
		most: rankBytes.reduce((max, bytes) => Math.max(max, bytes), 0),
		mean: rankBytes.reduce((sum, bytes) => sum + bytes, 0) / Math.max(1, rankBytes.length),
	};
}

function summaryOf({ least, most, mean }: BarFigures): string {
	if (least === most) return `Every rank holds ${format.exactBytes(most)}.`;
	const more = format.percent(mean === 0 ? 0 : most / mean - 1);
	const range = [...new Set([format.bytes(least), format.bytes(most)])].join(" to ");
	return `${range} per rank. The fullest holds ${more} more than the mean (dashed), ${format.bytes(mean)}.`;
}
