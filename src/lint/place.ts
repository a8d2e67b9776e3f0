import { boxNumel } from "../core/box.ts";
import type { CheckpointIndex, CheckpointObject, CheckpointTensor } from "../core/checkpoint.ts";
import { itemBytes } from "../core/dtype.ts";
import type { Layout, Shard } from "../core/layout.ts";
import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import { createGrids, type Grid, readsOf, type ShardReads } from "./grids.ts";
import { createHoldings, type Holdings } from "./ranks.ts";
import type { ExpectedTensor, Trainer } from "./types.ts";

/** A tensor that the trainer wants and the checkpoint has in that shape. */
export interface PlacedTensor {
	readonly kind: "tensor";
	readonly fqn: string;
	readonly expected: ExpectedTensor;
	readonly stored: CheckpointTensor;
	/** Of the stored dtype. */
	readonly itemBytes: number;
	/** Positions in `stored.entries` of the boxes of `grid`; `undefined` where they are the same. */
	readonly full: readonly number[] | undefined;
	readonly grid: Grid;
	readonly holdings: Holdings;
	/** By shard. */
	readonly reads: readonly ShardReads[];
}

/** An object that the trainer wants and the checkpoint has. */
export interface PlacedObject {
	readonly kind: "object";
	readonly fqn: string;
	readonly stored: CheckpointObject;
}

/** What the trainer's state dict finds in the checkpoint, in the order in which it is read: sorted by name. */
export interface Placement {
	readonly items: readonly (PlacedTensor | PlacedObject)[];
	/** Why tensors cannot be cut, by name. */
	readonly uncut: ReadonlyMap<string, HfStreamDcpError>;
}

/**
 * Brings together what is wanted and what is stored, once for tensors that are cut and stored alike. What does not match is left out.
 *
 * @param tensors - Of the checkpoint, by name.
 */
export function placeTensors(
	trainer: Trainer,
	tensors: ReadonlyMap<string, CheckpointTensor>,
	objects: CheckpointIndex["objects"],
): Placement {
	const { layout } = trainer;
	const gridOf = createGrids();
	const holdingsOf = createHoldings(layout.worldSize);
	const known = new Map<Grid, Map<Holdings, readonly ShardReads[]>>();
	const uncut = new Map<string, HfStreamDcpError>();
	const placed = trainer.tensors.flatMap((expected): PlacedTensor[] => {
		const { fqn, shape } = expected;
		const shards = cut(layout, expected, uncut);
		const stored = tensors.get(fqn);
		if (shards === undefined || stored?.shape.join() !== shape.join()) return [];
		const grid = gridOf(
			stored.entries.filter(({ box }) => boxNumel(box) > 0).map(({ box }) => box),
		);
		const holdings = holdingsOf(shards);
		let ofGrid = known.get(grid);
		if (ofGrid === undefined)
			known.set(grid, (ofGrid = new Map<Holdings, readonly ShardReads[]>()));
		let reads = ofGrid.get(holdings);
		if (reads === undefined) ofGrid.set(holdings, (reads = readsOf(grid, holdings.shards)));
		const full = positionsOfFull(stored);
		return [
			{
				kind: "tensor",
				fqn,
				expected,
				stored,
				itemBytes: itemBytes(stored.dtype),
				full,
				grid,
				holdings,
				reads,
			},
		];
	});
	const wanted = new Set(trainer.objects);
	const found = objects
		.filter(({ fqn }) => wanted.has(fqn))
		.map((stored): PlacedObject => ({ kind: "object", fqn: stored.fqn, stored }));
	const items = [...placed, ...found].toSorted((a, b) => (a.fqn < b.fqn ? -1 : 1));
	return { items, uncut };
}

function cut(
	layout: Layout,
	{ fqn, shape }: ExpectedTensor,
	uncut: Map<string, HfStreamDcpError>,
): readonly Shard[] | undefined {
	try {
		return layout.shardsOf(fqn, shape);
	} catch (error) {
		if (!isHfStreamDcpError(error, "LAYOUT_INVALID")) throw error;
		uncut.set(fqn, error);
		return undefined;
	}
}

function positionsOfFull({ entries }: CheckpointTensor): readonly number[] | undefined {
	if (entries.every(({ box }) => boxNumel(box) > 0)) return undefined;
	return entries.flatMap(({ box }, index) => (boxNumel(box) > 0 ? [index] : []));
}
