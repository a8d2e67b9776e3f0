import type { Shard } from "../core/layout.ts";
import { itemBytes, type Dtype } from "../core/dtype.ts";
import { boxNumel } from "../core/box.ts";
import { pageAfter, PAGED_FROM_BYTES } from "../core/pages.ts";
import { at } from "../core/shape.ts";
import type { EntryFormat } from "../core/ports.ts";
import type { Draft } from "./atoms.ts";
import type { PlanEntry } from "./types.ts";

/** Keeps entries and their data (the prefix is a multiple of it) on the boundary torch's own storages have. */
const ENTRY_ALIGNMENT = 64;

/** Bytes each rank owns, and bytes each rank's file was given so far. */
export interface RankLoads {
	readonly owned: Float64Array;
	readonly stored: Float64Array;
}

/** No bytes anywhere yet. Doubles count bytes exactly up to 2^53. */
export function emptyLoads(worldSize: number): RankLoads {
	return { owned: new Float64Array(worldSize), stored: new Float64Array(worldSize) };
}

/** Picks the rank whose file holds a shard: of those that own it, the one given least so far, the lowest on ties. */
export function chooseRank(shard: Shard, dtype: Dtype, loads: RankLoads): number {
	const bytes = boxNumel(shard.box) * itemBytes(dtype);
	let chosen = at(shard.ranks, 0);
	for (const rank of shard.ranks) {
		loads.owned[rank] = (loads.owned[rank] ?? 0) + bytes;
		if ((loads.stored[rank] ?? 0) < (loads.stored[chosen] ?? 0)) chosen = rank;
	}
	loads.stored[chosen] = (loads.stored[chosen] ?? 0) + bytes;
	return chosen;
}

/** Entries with their final places, and the files they make. */
export interface Placement {
	/** In the order of the drafts. */
	readonly entries: readonly PlanEntry[];
	readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/**
 * Gives every draft its file and offset: `__{rank}_0.distcp`, one after the other in the order given. Data of at least
 * {@link PAGED_FROM_BYTES} begins on a page, so that it can be written past the page cache; the gap before it is less than
 * 0.4 % of it.
 */
export function placeEntries(
	drafts: readonly Draft[],
	tensors: readonly { readonly fqn: string; readonly dtype: Dtype }[],
	format: EntryFormat,
): Placement {
	const ends = new Map<number, number>();
	const entries = drafts.map((draft): PlanEntry => {
		const { fqn, dtype } = at(tensors, draft.tensor);
		const { prefixBytes, dataBytes, suffixBytes } = format.geometry(dtype, draft.box.size);
		const length = prefixBytes + dataBytes + suffixBytes;
		const free = ends.get(draft.rank) ?? 0;
		const aligned = Math.ceil(free / ENTRY_ALIGNMENT) * ENTRY_ALIGNMENT;
		const offset =
			dataBytes < PAGED_FROM_BYTES ? aligned : pageAfter(aligned + prefixBytes) - prefixBytes;
		ends.set(draft.rank, offset + length);
		return {
			fqn,
			dtype,
			box: draft.box,
			file: fileName(draft.rank),
			offset,
			length,
			tensor: draft.tensor,
		};
	});
	const files = [...ends]
		.toSorted(([a], [b]) => a - b)
		.map(([rank, bytes]) => ({ name: fileName(rank), bytes }));
	return { entries, files };
}

/** @see torch 2.13 `torch/distributed/checkpoint/filesystem.py`, `FileSystemWriter.write_data` */
function fileName(rank: number): string {
	return `__${rank}_0.distcp`;
}
