import { assertNever } from "../core/errors.ts";
import type { Box } from "../core/box.ts";
import { at, type Shape } from "../core/shape.ts";

/** Elements `start` up to but not including `start + size` of one dimension. */
export interface Span {
	readonly start: number;
	readonly size: number;
}

/**
 * How one mesh dimension divides a tensor. The names follow `torch.distributed.tensor`; `strided-shard` is
 * `_StridedShard(dim, split_factor)`: a notation for "a later mesh dimension has cut this dimension into
 * `splitFactor` pieces already, cut each of them".
 */
export type Placement =
	| { readonly kind: "replicate" }
	| { readonly kind: "shard"; readonly dim: number }
	| { readonly kind: "strided-shard"; readonly dim: number; readonly splitFactor: number };

/** What torch believes that one mesh coordinate holds of a tensor. */
export interface PlacedChunk {
	/** Offset and size as DCP writes them down. An empty chunk's offset is the global size in the dimension that made it empty. */
	readonly box: Box;
	/** Whether the elements really form one block. Where not, `box` does not describe them and DCP goes wrong. */
	readonly isContiguous: boolean;
}

/**
 * Piece `index` of `length` elements cut into `parts`: pieces have the size of the first, rounded up; trailing pieces are
 * short or empty. An empty piece starts at `length`.
 *
 * @see torch 2.13 `torch.chunk`, filled up with empty pieces as `Shard._split_tensor` does.
 */
export function chunkSpan(length: number, parts: number, index: number): Span {
	const size = Math.ceil(length / parts);
	const start = Math.min(length, size * index);
	return { start, size: Math.min(length, start + size) - start };
}

/**
 * The chunk that torch computes for `coordinates` of a mesh, from its placements, left to right.
 *
 * @param meshSizes - Size of each mesh dimension, outermost first.
 * @param placements - One per mesh dimension.
 * @see torch 2.13 `torch/distributed/tensor/_utils.py`, `_compute_local_shape_and_global_offset`; proved by
 * `test/golden/layout-chunk.test.ts`.
 */
export function placedChunk(
	shape: Shape,
	meshSizes: readonly number[],
	placements: readonly Placement[],
	coordinates: readonly number[],
): PlacedChunk {
	const runs: (readonly Span[])[] = shape.map((size) => [{ start: 0, size }]);
	for (const [axis, placement] of placements.entries()) {
		if (placement.kind === "replicate") continue;
		const held = at(runs, placement.dim);
		const taken = localSpans(
			placement,
			totalSize(held),
			at(meshSizes, axis),
			at(coordinates, axis),
		);
		runs[placement.dim] = taken.flatMap((span) => selectRuns(held, span));
	}
	const merged = runs.map((list) => mergeRuns(list));
	return {
		box: {
			offset: merged.map((list, dim) => list[0]?.start ?? emptyOffset(shape, placements, dim)),
			size: merged.map((list) => totalSize(list)),
		},
		isContiguous: merged.every((list) => list.length <= 1),
	};
}

/** The parts of a local dimension of `length` elements that a placement takes, in local coordinates. */
function localSpans(
	placement: Exclude<Placement, { kind: "replicate" }>,
	length: number,
	parts: number,
	index: number,
): readonly Span[] {
	switch (placement.kind) {
		case "shard":
			return [chunkSpan(length, parts, index)];
		case "strided-shard":
			return Array.from({ length: placement.splitFactor }, (_, piece) => {
				const outer = chunkSpan(length, placement.splitFactor, piece);
				const inner = chunkSpan(outer.size, parts, index);
				return { start: outer.start + inner.start, size: inner.size };
			});
		default:
			return assertNever(placement);
	}
}

/** The global runs of the local elements `span` of a dimension that holds `runs`. */
function selectRuns(runs: readonly Span[], span: Span): Span[] {
	const selected: Span[] = [];
	let position = 0;
	for (const run of runs) {
		const start = Math.max(span.start, position);
		const end = Math.min(span.start + span.size, position + run.size);
		if (end > start) selected.push({ start: run.start + start - position, size: end - start });
		position += run.size;
	}
	return selected;
}

/** Joins runs that follow one another and leaves out empty ones. */
function mergeRuns(runs: readonly Span[]): Span[] {
	const merged: Span[] = [];
	for (const run of runs) {
		if (run.size === 0) continue;
		const last = merged.at(-1);
		if (last !== undefined && last.start + last.size === run.start) {
			merged[merged.length - 1] = { start: last.start, size: last.size + run.size };
		} else {
			merged.push(run);
		}
	}
	return merged;
}

function totalSize(runs: readonly Span[]): number {
	return runs.reduce((sum, run) => sum + run.size, 0);
}

function emptyOffset(shape: Shape, placements: readonly Placement[], dim: number): number {
	const isCut = placements.some(
		(placement) => placement.kind !== "replicate" && placement.dim === dim,
	);
	return isCut ? at(shape, dim) : 0;
}
