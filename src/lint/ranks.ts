import { boxKey } from "../core/box.ts";
import type { Shard } from "../core/layout.ts";

/** Which shards of a list every rank holds. Tensors that are cut alike share one. */
export interface Holdings {
	readonly shards: readonly Shard[];
	/** By rank the shard that it holds, -1 for none. */
	readonly first: Int32Array;
	/** By shard the list of it alone. */
	readonly alone: readonly (readonly number[])[];
	/** The others of ranks that hold several. */
	readonly others: ReadonlyMap<number, readonly number[]>;
}

/** Makes the holdings of each list of shards once, also where a layout makes equal lists anew. */
export function createHoldings(worldSize: number): (shards: readonly Shard[]) => Holdings {
	const byIdentity = new Map<readonly Shard[], Holdings>();
	const byContent = new Map<string, Holdings>();
	const ranksIds = new Map<readonly number[], string>();
	const ranksKey = (ranks: readonly number[]): string => {
		if (ranks.length === 1) return String(ranks[0]);
		let id = ranksIds.get(ranks);
		if (id === undefined) ranksIds.set(ranks, (id = ranks.join()));
		return id;
	};
	return (shards) => {
		let found = byIdentity.get(shards);
		if (found !== undefined) return found;
		const key = shards.map(({ box, ranks }) => `${boxKey(box)}@${ranksKey(ranks)}`).join(" ");
		found = byContent.get(key) ?? holdingsOf(shards, worldSize);
		byContent.set(key, found);
		byIdentity.set(shards, found);
		return found;
	};
}

function holdingsOf(shards: readonly Shard[], worldSize: number): Holdings {
	const first = new Int32Array(worldSize).fill(-1);
	const others = new Map<number, number[]>();
	for (const [index, { ranks }] of shards.entries()) {
		for (const rank of ranks) {
			if (first[rank] === -1) first[rank] = index;
			else others.set(rank, [...(others.get(rank) ?? []), index]);
		}
	}
	return { shards, first, others, alone: shards.map((_, index) => [index]) };
}

const NONE: readonly number[] = [];

/** The shards that `rank` holds. */
export function shardsOfRank({ first, others, alone }: Holdings, rank: number): readonly number[] {
	const index = first[rank] ?? -1;
	if (index < 0) return NONE;
	const more = others.get(rank);
	return more === undefined ? (alone[index] ?? NONE) : [index, ...more];
}

/**
 * Ranks that hold the same of everything, and so read the same.
 *
 * @returns By rank the lowest rank of its class.
 */
export function rankClasses(all: Iterable<Holdings>, worldSize: number): Int32Array {
	const leaders = new Int32Array(worldSize);
	for (const { first, others } of all) {
		const seen = new Map<string | number, number>();
		for (let rank = 0; rank < worldSize; rank++) {
			const more = others.get(rank);
			const held = first[rank] ?? -1;
			const leader = leaders[rank] ?? 0;
			const key = more === undefined ? leader * 2 ** 26 + held : `${leader} ${held} ${more.join()}`;
			const known = seen.get(key);
			if (known === undefined) seen.set(key, rank);
			leaders[rank] = known ?? rank;
		}
	}
	return leaders;
}
