import type { Shard } from "../core/layout.ts";
import { itemBytes, type Dtype } from "../core/dtype.ts";
import { boxNumel } from "../core/box.ts";
import { pageAfter, PAGED_FROM_BYTES } from "../core/pages.ts";
import { at } from "../core/shape.ts";
import type { EntryFormat } from "../core/ports.ts";
import type { Draft } from "./region.ts";
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

/**
 * Picks the rank whose file holds a shard: the one that the layout names; else, of those that own it, the one given least so far,
 * the lowest on ties. A layout that names files does not know all owners: only the rank of the file counts as one.
 */
export function chooseRank(shard: Shard, dtype: Dtype, loads: RankLoads): number {
	const bytes = boxNumel(shard.box) * itemBytes(dtype);
	const { storedBy } = shard;
	if (storedBy !== undefined) {
		for (const load of [loads.owned, loads.stored]) load[storedBy] = (load[storedBy] ?? 0) + bytes;
		return storedBy;
	}
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
 * Gives every draft its file and offset: `__{rank}_{share}.distcp`, one after the other in the order given. Data of at least
 * {@link PAGED_FROM_BYTES} begins on a page, so that it can be written past the page cache; the gap before it is less than
 * 0.4 % of it.
 *
 * @param shareOf - The share a draft belongs to; by default there is one.
 */
export function placeEntries(
	drafts: readonly Draft[],
	tensors: readonly { readonly fqn: string; readonly dtype: Dtype }[],
	format: EntryFormat,
	shareOf: (draft: Draft) => number = () => 0,
): Placement {
	const files = new Map<string, OpenFile>();
	const entries = drafts.map((draft): PlanEntry => {
		const { fqn, dtype } = at(tensors, draft.tensor);
		const { prefixBytes, dataBytes, suffixBytes } = format.geometry(dtype, draft.box.size);
		const length = prefixBytes + dataBytes + suffixBytes;
		const share = shareOf(draft);
		const name = fileName(draft.rank, share);
		const file = files.get(name) ?? { name, rank: draft.rank, share, bytes: 0 };
		files.set(name, file);
		const aligned = Math.ceil(file.bytes / ENTRY_ALIGNMENT) * ENTRY_ALIGNMENT;
		const offset =
			dataBytes < PAGED_FROM_BYTES ? aligned : pageAfter(aligned + prefixBytes) - prefixBytes;
		file.bytes = offset + length;
		const { box, tensor } = draft;
		// The name of the file, not a new string of its own for every entry.
		return { fqn, dtype, box, file: file.name, offset, length, tensor, share };
	});
	return {
		entries,
		files: [...files.values()]
			.toSorted((a, b) => a.rank - b.rank || a.share - b.share)
			.map(({ name, bytes }) => ({ name, bytes })),
	};
}

/** A data file while its entries are placed. */
interface OpenFile {
	readonly name: string;
	readonly rank: number;
	readonly share: number;
	bytes: number;
}

/**
 * As torch names them: the second number tells apart the files that are written for one rank.
 *
 * @see torch 2.13 `torch/distributed/checkpoint/filesystem.py`, `FileSystemWriter.write_data`
 */
function fileName(rank: number, share: number): string {
	return `__${rank}_${share}.distcp`;
}
