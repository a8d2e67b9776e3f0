import { at } from "../core/shape.ts";
import type { Parallelism } from "./parallelism.ts";

/**
 * A dimension of a mesh. `fsdp` is dp_shard × cp flattened, dp_shard outermost: FSDP never tells them apart.
 * `efsdp` is what is left of dp_shard × cp × tp for the experts when `ep` and `etp` have taken their share.
 */
export type AxisName = "pp" | "dp_replicate" | "fsdp" | "tp" | "efsdp" | "ep" | "etp";

/** One dimension of a mesh. */
export interface MeshAxis {
	readonly name: AxisName;
	/** Number of coordinates. */
	readonly size: number;
	/** Distance in ranks between neighbouring coordinates. */
	readonly stride: number;
}

/** All ranks of the training job in row-major order, last axis fastest. */
export interface Mesh {
	readonly axes: readonly MeshAxis[];
	readonly worldSize: number;
}

/**
 * The mesh of everything but experts under EP: `[pp, dp_replicate, fsdp, tp]`.
 *
 * @see torchtitan b5bcd76c `distributed/parallel_dims.py`, `build_mesh`.
 */
export function denseMesh(parallelism: Parallelism): Mesh {
	const { pp, dpReplicate, dpShard, cp, tp } = parallelism;
	return createMesh([
		["pp", pp],
		["dp_replicate", dpReplicate],
		["fsdp", dpShard * cp],
		["tp", tp],
	]);
}

/**
 * The mesh of routed experts under EP: `[pp, dp_replicate, efsdp, ep, etp]`. EP groups are neighbouring ranks and span
 * tp and cp.
 *
 * @see torchtitan b5bcd76c `distributed/parallel_dims.py`; `etp` until its removal in c4b409af (2026-04-30).
 */
export function sparseMesh(parallelism: Parallelism): Mesh {
	const { pp, dpReplicate, dpShard, cp, tp, ep, etp } = parallelism;
	return createMesh([
		["pp", pp],
		["dp_replicate", dpReplicate],
		["efsdp", (dpShard * cp * tp) / (ep * etp)],
		["ep", ep],
		["etp", etp],
	]);
}

/** A row-major mesh of the given axes, outermost first. */
function createMesh(sizes: readonly (readonly [name: AxisName, size: number])[]): Mesh {
	let stride = 1;
	const axes = sizes
		.toReversed()
		.map(([name, size]) => {
			const axis: MeshAxis = { name, size, stride };
			stride *= size;
			return axis;
		})
		.toReversed();
	return { axes, worldSize: stride };
}

/** Coordinates of `rank`, one per axis. */
export function coordinatesOf(mesh: Mesh, rank: number): readonly number[] {
	return mesh.axes.map((axis) => Math.floor(rank / axis.stride) % axis.size);
}

/** The rank at `coordinates`, one per axis. */
export function rankAt(mesh: Mesh, coordinates: readonly number[]): number {
	return mesh.axes.reduce((rank, axis, index) => rank + axis.stride * at(coordinates, index), 0);
}

/**
 * Every rank distance that moving along `axes` can make, ascending when `axes` are in the mesh's order. `[0]` for none.
 */
export function rankOffsets(axes: readonly MeshAxis[]): readonly number[] {
	let offsets: readonly number[] = [0];
	for (const { size, stride } of axes) {
		offsets = offsets.flatMap((offset) =>
			Array.from({ length: size }, (_, coordinate) => offset + coordinate * stride),
		);
	}
	return offsets;
}
