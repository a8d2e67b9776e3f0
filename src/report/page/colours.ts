import type { ReportMesh } from "../report-data.ts";

/** Colours that the canvases take from the style sheet. */
export interface Colours {
	readonly text: string;
	readonly muted: string;
	readonly line: string;
	readonly surface: string;
	readonly accent: string;
	/** On the colours of ranks. */
	readonly onRank: string;
	readonly font: string;
}

/** What the style sheet says now: it depends on the theme. */
export function readColours(): Colours {
	const style = getComputedStyle(document.documentElement);
	const of = (name: string): string => style.getPropertyValue(name).trim();
	return {
		text: of("--text"),
		muted: of("--muted"),
		line: of("--line-strong"),
		surface: of("--surface"),
		accent: of("--accent"),
		onRank: of("--on-rank"),
		font: of("--font"),
	};
}

/**
 * The colour of each rank: its hue by the outer dimensions of the mesh, its lightness by the innermost, so that neighbours in a group look
 * alike. Dark text is readable on all of them, and they stand out from a dark page and a light one.
 */
export function rankColours(
	worldSize: number,
	meshes: readonly ReportMesh[],
): (rank: number) => string {
	const inner = meshes[0]?.axes.at(-1)?.size ?? 1;
	const isGrouped = inner < worldSize && inner <= 16;
	const groupSize = isGrouped ? inner : 1;
	const groups = Math.max(1, Math.ceil(worldSize / groupSize));
	return (rank) => {
		if (rank < 0) return "oklch(0.78 0 0)";
		const hue = 25 + (Math.floor(rank / groupSize) / groups) * (groups === 1 ? 0 : 330);
		const step = groupSize === 1 ? rank % 2 : (rank % groupSize) / (groupSize - 1);
		const lightness = groupSize === 1 ? 0.74 + 0.06 * step : 0.66 + 0.19 * step;
		return `oklch(${lightness.toFixed(3)} 0.115 ${hue.toFixed(1)})`;
	};
}
