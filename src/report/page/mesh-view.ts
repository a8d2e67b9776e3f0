import type { ReportMesh } from "../report-data.ts";
import { replaceKeepingFocus } from "./controls.ts";
import { h } from "./dom.ts";
import * as format from "./format.ts";
import { describeMesh, legendOf, meshControls, type MeshScene } from "./mesh-controls.ts";
import { coordinatesOf, defaultView, gridOf, type MeshGrid } from "./mesh-grid.ts";
import { cellSize, drawMesh, rankArea, rankAtPlace } from "./mesh-picture.ts";
import type { Model } from "./model.ts";
import { createPicture } from "./picture.ts";
import type { Selection } from "./selection.ts";

/** A picture of all ranks, to pick one of. */
export function createMeshView(
	model: Model,
	selection: Selection,
	colourOf: (rank: number) => string,
): HTMLElement {
	const meshes = meshesOf(model);
	const [first = { name: "ranks", axes: [] }] = meshes;
	let scene: MeshScene = { mesh: first, view: defaultView(first) };
	let grid = gridOf(scene.mesh, scene.view);
	const controls = h("div", { class: "controls" });
	const legend = h("p", { class: "muted axes-legend" });
	const picture = createPicture({
		id: "mesh",
		label: () => `Ranks of the training job: ${describeMesh(scene.mesh)}`,
		heightFor: (width) => grid.rows * cellSize(grid, width).height,
		areaOf: (rank, size) => rankArea(grid, rank, size),
		itemAt: (x, y, size) => rankAtPlace(grid, x, y, size),
		neighbourOf: (rank, key) => neighbourOf(grid, rank, key),
		describe: (rank) => describeRank(model, scene.mesh, rank),
		onPick: (rank) => selection.pick({ rank }),
		onClear: () => selection.pick({ rank: undefined }),
		draw: (context, size, colours) =>
			drawMesh(context, size, colours, { grid, model, selection, colourOf }),
	});
	const refresh = (): void => picture.update(selection.picked.rank ?? -1, model.head.worldSize);
	const look = (next: MeshScene): void => {
		scene = next;
		grid = gridOf(scene.mesh, scene.view);
		replaceKeepingFocus(controls, meshControls(meshes, scene, look));
		legend.textContent = legendOf(scene);
		refresh();
	};
	selection.onChange(({ rank }) => {
		const isHidden = rank !== undefined && grid.cellOf(rank) === undefined;
		if (isHidden) {
			const held = coordinatesOf(scene.mesh, rank);
			look({ ...scene, view: { ...scene.view, held } });
		} else refresh();
	});
	look(scene);
	return h("div", { class: "mesh" }, controls, picture.element, legend);
}

/** Dimensions of one rank are left out; where no mesh is known, the ranks are one dimension. */
function meshesOf({ head }: Model): readonly ReportMesh[] {
	const known = head.meshes
		.map(({ name, axes }) => ({ name, axes: axes.filter(({ size }) => size > 1) }))
		.filter(({ axes }) => axes.length > 0);
	return known.length > 0
		? known
		: [{ name: "ranks", axes: [{ name: "rank", size: Math.max(1, head.worldSize) }] }];
}

/** `rank 11: fsdp 1, tp 3; holds 2.4 GB` */
function describeRank(model: Model, mesh: ReportMesh, rank: number): string {
	const own = coordinatesOf(mesh, rank);
	const place = mesh.axes.map(({ name }, axis) => `${name} ${own[axis] ?? 0}`).join(", ");
	const isPlain = mesh.axes.length === 1 && mesh.axes[0]?.name === "rank";
	return `rank ${rank}${isPlain ? "" : `: ${place}`}; holds ${format.bytes(model.rankBytes[rank] ?? 0)}`;
}

function neighbourOf(grid: MeshGrid, rank: number, key: string): number | undefined {
	const [row, column] = grid.cellOf(rank) ?? [0, 0];
	const lastRow = grid.rows - 1;
	const lastColumn = grid.columns - 1;
	const to = (r: number, c: number): number => {
		const isInside = r >= 0 && r <= lastRow && c >= 0 && c <= lastColumn;
		return isInside ? grid.rankAt(r, c) : -1;
	};
	if (rank < 0) return key.startsWith("Arrow") || key === "Home" ? grid.rankAt(0, 0) : undefined;
	switch (key) {
		case "ArrowLeft":
			return column > 0 ? to(row, column - 1) : to(row - 1, lastColumn);
		case "ArrowRight":
			return column < lastColumn ? to(row, column + 1) : to(row + 1, 0);
		case "ArrowUp":
			return to(row - 1, column);
		case "ArrowDown":
			return to(row + 1, column);
		case "Home":
			return to(0, 0);
		case "End":
			return to(lastRow, lastColumn);
		default:
			return undefined;
	}
}
