import type { ReportMesh } from "../report-data.ts";

/** How a mesh of any number of dimensions is shown in two: some run down, one runs across, the others are held at a coordinate. */
export interface MeshGrid {
	readonly rows: number;
	readonly columns: number;
	/** The rank in a cell; −1 for a cell past the last rank of a mesh of one dimension. */
	rankAt(row: number, column: number): number;
	/** The cell of a rank; `undefined` when the other dimensions hide it. */
	cellOf(rank: number): readonly [row: number, column: number] | undefined;
}

/** Which dimensions are shown, and where the others are held. */
export interface MeshView {
	/** Index of the dimension that runs across. */
	readonly across: number;
	/** Of the one that runs down; `undefined` for a mesh of one dimension, which is broken into rows. */
	readonly down: number | undefined;
	/** A coordinate for every dimension; those of the shown ones do not matter. */
	readonly held: readonly number[];
}

/** Cells in a row where one dimension is broken into rows. */
const ROW = 16;

/** Distances in ranks between neighbours along each dimension. */
export function stridesOf({ axes }: ReportMesh): readonly number[] {
	let stride = 1;
	return axes
		.toReversed()
		.map(({ size }) => {
			const own = stride;
			stride *= size;
			return own;
		})
		.toReversed();
}

/** Coordinates of a rank, one for each dimension. */
export function coordinatesOf(mesh: ReportMesh, rank: number): readonly number[] {
	const strides = stridesOf(mesh);
	return mesh.axes.map(({ size }, axis) => Math.floor(rank / (strides[axis] ?? 1)) % size);
}

/** The largest dimension across, where there is most room, and the second largest down; the others held at 0. */
export function defaultView({ axes }: ReportMesh): MeshView {
	const inward = axes.map((_, axis) => axis).toReversed();
	const bySize = inward.toSorted((a, b) => sizeOf(axes, b) - sizeOf(axes, a));
	const [first = 0, second] = bySize;
	const held = axes.map(() => 0);
	if (second === undefined) return { across: first, down: undefined, held };
	return { across: first, down: second, held };
}

function sizeOf(axes: ReportMesh["axes"], axis: number): number {
	return axes[axis]?.size ?? 1;
}

/** The cells of a view. */
export function gridOf(mesh: ReportMesh, { across, down, held }: MeshView): MeshGrid {
	const { axes } = mesh;
	const strides = stridesOf(mesh);
	const width = sizeOf(axes, across);
	if (down === undefined) {
		const columns = Math.min(width, width <= 2 * ROW ? ROW : Math.ceil(Math.sqrt(width * 2)));
		return {
			rows: Math.ceil(width / columns),
			columns,
			rankAt: (row, column) => {
				const rank = row * columns + column;
				return rank < width ? rank : -1;
			},
			cellOf: (rank) => [Math.floor(rank / columns), rank % columns],
		};
	}
	const base = held.reduce(
		(sum, coordinate, axis) =>
			axis === across || axis === down ? sum : sum + coordinate * (strides[axis] ?? 0),
		0,
	);
	return {
		rows: sizeOf(axes, down),
		columns: width,
		rankAt: (row, column) => base + row * (strides[down] ?? 0) + column * (strides[across] ?? 0),
		cellOf: (rank) => {
			const own = coordinatesOf(mesh, rank);
			const isShown = own.every(
				(coordinate, axis) => axis === across || axis === down || coordinate === held[axis],
			);
			return isShown ? [own[down] ?? 0, own[across] ?? 0] : undefined;
		},
	};
}
