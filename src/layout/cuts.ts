import type { Box } from "../core/box.ts";
import { boxesEqual } from "../core/box.ts";
import { invariant } from "../core/errors.ts";
import { at, formatShape, type Shape } from "../core/shape.ts";
import { chunkSpan, placedChunk, type Placement } from "./chunk.ts";
import { layoutInvalid } from "./invalid.ts";
import type { AxisName, Mesh, MeshAxis } from "./mesh.ts";

/** One cut of a tensor: dimension `dim`, as the cuts before have left it, is divided over a mesh axis. */
export interface Cut {
	readonly axis: AxisName;
	readonly dim: number;
}

/**
 * How a tensor is stored: `cuts` in the order they are made on `mesh`. FSDP comes last: it divides what tensor or expert
 * parallelism has left on the rank. Axes that no cut names hold replicas.
 */
export interface StorageCuts {
	readonly mesh: Mesh;
	readonly cuts: readonly Cut[];
}

/** The mesh axes that cuts name, in the mesh's order. */
export function cutAxes({ mesh, cuts }: StorageCuts): readonly MeshAxis[] {
	return mesh.axes.filter((axis) => cuts.some((cut) => cut.axis === axis.name));
}

/**
 * The block that is left of a tensor after all cuts.
 *
 * @param coordinates - One per mesh axis; those of axes without a cut are not looked at.
 */
export function cutBox(shape: Shape, storage: StorageCuts, coordinates: readonly number[]): Box {
	const offset = shape.map(() => 0);
	const size = [...shape];
	for (const cut of storage.cuts) {
		const axis = axisIndex(storage.mesh, cut.axis);
		const span = chunkSpan(
			at(size, cut.dim),
			at(storage.mesh.axes, axis).size,
			at(coordinates, axis),
		);
		offset[cut.dim] = at(offset, cut.dim) + span.start;
		size[cut.dim] = span.size;
	}
	return { offset, size };
}

/**
 * The DTensor placements that torch gives a tensor with these cuts, one per mesh axis.
 *
 * @see torch 2.13 `_fsdp_param.py`: the split factor is the number of pieces that other axes have made of the dimension.
 */
export function placementsOf({ mesh, cuts }: StorageCuts): readonly Placement[] {
	return mesh.axes.map((axis): Placement => {
		const index = cuts.findIndex((cut) => cut.axis === axis.name);
		const cut = cuts[index];
		if (cut === undefined) return { kind: "replicate" };
		const splitFactor = piecesBefore(mesh, cuts.slice(0, index), cut.dim);
		return splitFactor === 1
			? { kind: "shard", dim: cut.dim }
			: { kind: "strided-shard", dim: cut.dim, splitFactor };
	});
}

/**
 * Refuses what torch cannot build, or builds but does not save and load as it is.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` naming the tensor and the dimension.
 */
export function assertStorable(fqn: string, shape: Shape, storage: StorageCuts): void {
	const { mesh, cuts } = storage;
	for (const [index, cut] of cuts.entries()) {
		const size = shape[cut.dim];
		if (size === undefined) {
			throw layoutInvalid(
				`${fqn} has shape ${formatShape(shape)}, but ${cut.axis} cuts dimension ${cut.dim} of it`,
				"Check that the model is of the chosen family and that its shapes are what the family expects.",
				{ fqn, shape, axis: cut.axis, dim: cut.dim },
			);
		}
		const before = cuts.slice(0, index);
		if (cut.dim > 0 && (cut.axis === "fsdp" || cut.axis === "efsdp")) {
			assertEvenInnerCut(fqn, shape, mesh, before, cut);
		}
		if (size % piecesBefore(mesh, before, cut.dim) !== 0) {
			assertSpecMatchesBytes(fqn, shape, storage, cut.dim);
		}
	}
}

/** FSDP2 cuts other dimensions than the first only into equal pieces (torch 2.13 `_fsdp_param.py`, `NotImplementedError`). */
function assertEvenInnerCut(
	fqn: string,
	shape: Shape,
	mesh: Mesh,
	before: readonly Cut[],
	cut: Cut,
): void {
	const parts = axisSize(mesh, cut.axis);
	const pieces = piecesBefore(mesh, before, cut.dim);
	const size = at(shape, cut.dim);
	for (let piece = 0; piece < pieces; piece++) {
		const left = chunkSpan(size, pieces, piece).size;
		if (left % parts === 0) continue;
		throw layoutInvalid(
			`${fqn} of shape ${formatShape(shape)}: FSDP over ${parts} ranks must cut dimension ${cut.dim}, of which a rank has ${left}, and FSDP2 cannot cut it unevenly`,
			`Choose dp_shard, cp, tp and ep so that ${parts} ranks divide ${left}, or fewer ranks per expert so that FSDP cuts whole experts.`,
			{ fqn, shape, dim: cut.dim, ranks: parts, size: left },
		);
	}
}

/**
 * When a dimension is cut twice and the first cut is uneven, DTensor's arithmetic and the bytes that FSDP really holds can
 * part ways: `dcp.save` then fails with overlapping chunks, or `dcp.load` with mismatched sizes, or it loads other values and
 * says nothing. `test/oracle/torch-storable.test.ts` asks torch.
 */
function assertSpecMatchesBytes(
	fqn: string,
	shape: Shape,
	storage: StorageCuts,
	dim: number,
): void {
	const sizes = storage.mesh.axes.map((axis) => axis.size);
	const placements = placementsOf(storage);
	for (const coordinates of blockCoordinates(storage)) {
		const held = cutBox(shape, storage, coordinates);
		const spec = placedChunk(shape, sizes, placements, coordinates);
		const isEmpty = at(held.size, dim) === 0 && at(spec.box.size, dim) === 0;
		if (isEmpty || (spec.isContiguous && boxesEqual(held, spec.box))) continue;
		const axes = storage.cuts.filter((cut) => cut.dim === dim).map((cut) => cut.axis);
		const [first = "tp"] = axes;
		throw layoutInvalid(
			`${fqn} of shape ${formatShape(shape)}: dimension ${dim} is cut by ${axes.join(" and then by ")}, and the ${axisSize(storage.mesh, first)} ranks of ${first} do not divide ${at(shape, dim)}; torch's chunk metadata then disagrees with the bytes that FSDP holds, so the job could not save and load a checkpoint`,
			`Choose a ${first} size that divides ${at(shape, dim)}.`,
			{ fqn, shape, dim, axes },
		);
	}
}

/** Coordinates of every block, in the order of its first rank; those of axes without a cut are 0. */
export function blockCoordinates(storage: StorageCuts): readonly (readonly number[])[] {
	const cut = new Set(cutAxes(storage));
	let all: readonly (readonly number[])[] = [[]];
	for (const axis of storage.mesh.axes) {
		const size = cut.has(axis) ? axis.size : 1;
		all = all.flatMap((outer) =>
			Array.from({ length: size }, (_, coordinate) => [...outer, coordinate]),
		);
	}
	return all;
}

/** How many pieces `cuts` have made of dimension `dim`. */
function piecesBefore(mesh: Mesh, cuts: readonly Cut[], dim: number): number {
	return cuts
		.filter((cut) => cut.dim === dim)
		.reduce((pieces, cut) => pieces * axisSize(mesh, cut.axis), 1);
}

function axisSize(mesh: Mesh, name: AxisName): number {
	return at(mesh.axes, axisIndex(mesh, name)).size;
}

function axisIndex(mesh: Mesh, name: AxisName): number {
	const index = mesh.axes.findIndex((axis) => axis.name === name);
	invariant(index >= 0, `the mesh has no axis ${name}`);
	return index;
}
