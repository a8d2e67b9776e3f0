import type { Box } from "../core/box.ts";
import { boxesEqual } from "../core/box.ts";
import { at, formatShape, type Shape } from "../core/shape.ts";
import { chunkSpan, placedChunk, type Placement } from "./chunk.ts";
import { layoutInvalid } from "./invalid.ts";
import { formatPlacement } from "./placement-text.ts";

/** A tensor on a mesh. */
export interface Placed {
	readonly fqn: string;
	readonly shape: Shape;
	/** Size of each mesh dimension, outermost first. */
	readonly meshSizes: readonly number[];
	/** One per mesh dimension. */
	readonly placements: readonly Placement[];
}

/**
 * The block of every mesh coordinate, in row-major order; blocks may be empty or occur several times.
 *
 * Plain `Shard`s are cut from left to right, as DTensor does. A `_StridedShard` is cut after all later mesh dimensions that cut the
 * same tensor dimension, which is what FSDP2 does to what tensor or expert parallelism left.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` for a dimension that the tensor does not have, for a split factor that is not the number
 * of pieces of the later mesh dimensions, and where torch's chunk metadata and the bytes that FSDP holds part ways.
 * @see torch 2.13 `_fsdp_param.py` for the split factor; `test/oracle/torch-storable.test.ts` for the uneven ones.
 */
export function placedBlocks(placed: Placed): readonly Box[] {
	const { fqn, shape, meshSizes } = placed;
	const placements = placed.placements.map((placement) => normalised(placement, placed));
	const order = cutOrder({ ...placed, placements });
	const isStrided = placements.some(({ kind }) => kind === "strided-shard");
	const count = meshSizes.reduce((product, size) => product * size, 1);
	return Array.from({ length: count }, (_, index) => {
		const coordinates = coordinatesOf(index, meshSizes);
		const held = heldBox(shape, meshSizes, order, coordinates);
		if (isStrided) {
			const spec = placedChunk(shape, meshSizes, placements, coordinates);
			const isEmpty = held.size.includes(0) && spec.box.size.includes(0);
			if (!isEmpty && !(spec.isContiguous && boxesEqual(held, spec.box))) {
				throw layoutInvalid(
					`${fqn} of shape ${formatShape(shape)}, ${describe(placed)}: torch's chunk metadata disagrees with the bytes that FSDP holds, so the job could not save and load a checkpoint`,
					"Let the mesh dimensions that cut a dimension before FSDP does divide it.",
					{ fqn, shape, meshSizes },
				);
			}
		}
		return held;
	});
}

/** A cut of tensor dimension `dim` over the mesh dimension `axis`. */
interface AxisCut {
	readonly axis: number;
	readonly dim: number;
}

/** The cuts in the order they are made: strided ones after those that they are strided by, the rightmost of them first. */
function cutOrder(placed: Placed): readonly AxisCut[] {
	const { fqn, meshSizes, placements } = placed;
	const plain: AxisCut[] = [];
	const strided: AxisCut[] = [];
	for (const [axis, placement] of placements.entries()) {
		if (placement.kind === "replicate") continue;
		const { dim } = placement;
		if (placement.kind === "shard") {
			plain.push({ axis, dim });
			continue;
		}
		strided.unshift({ axis, dim });
		const pieces = placements.reduce(
			(product, later, at_) =>
				at_ > axis && later.kind !== "replicate" && later.dim === dim
					? product * at(meshSizes, at_)
					: product,
			1,
		);
		if (placement.splitFactor === pieces) continue;
		throw layoutInvalid(
			`${fqn}, ${describe(placed)}: the split factor ${placement.splitFactor} is not ${pieces}, the number of pieces that the later mesh dimensions make of dimension ${dim}`,
			"A block would not be contiguous, and torch could not save it. Use Shard where nothing cuts the dimension before.",
			{ fqn, splitFactor: placement.splitFactor, pieces },
		);
	}
	return [...plain, ...strided];
}

function heldBox(
	shape: Shape,
	meshSizes: readonly number[],
	order: readonly AxisCut[],
	coordinates: readonly number[],
): Box {
	const offset = shape.map(() => 0);
	const size = [...shape];
	for (const { axis, dim } of order) {
		const span = chunkSpan(at(size, dim), at(meshSizes, axis), at(coordinates, axis));
		offset[dim] = at(offset, dim) + span.start;
		size[dim] = span.size;
	}
	return { offset, size };
}

function coordinatesOf(index: number, sizes: readonly number[]): readonly number[] {
	let rest = index;
	return sizes
		.toReversed()
		.map((size) => {
			const coordinate = rest % size;
			rest = Math.floor(rest / size);
			return coordinate;
		})
		.toReversed();
}

function normalised(placement: Placement, placed: Placed): Placement {
	if (placement.kind === "replicate") return placement;
	const { fqn, shape } = placed;
	const dim = placement.dim < 0 ? placement.dim + shape.length : placement.dim;
	if (dim >= 0 && dim < shape.length) return { ...placement, dim };
	throw layoutInvalid(
		`${fqn} has shape ${formatShape(shape)}, and no dimension ${placement.dim} for ${formatPlacement(placement)}`,
		"Check the placements of this tensor, and that its name is spelled as --target does.",
		{ fqn, shape, dim: placement.dim },
	);
}

/** `[_StridedShard(dim=0, sf=2), Shard(dim=0)] on [4, 2]` */
function describe({ placements, meshSizes }: Placed): string {
	return `[${placements.map(formatPlacement).join(", ")}] on ${formatShape(meshSizes)}`;
}
