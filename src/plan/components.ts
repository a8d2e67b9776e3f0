import { at } from "../core/shape.ts";
import { createDisjointSets, type DisjointSets } from "./disjoint-sets.ts";
import type { Plan } from "./types.ts";

/** Tiles that fill entries together, and those entries: what cannot be parted without two threads on one entry. */
export interface Component {
	/** Indices in `plan.tiles`, ascending. */
	readonly tiles: readonly number[];
	/** Indices in `plan.entries`, ascending. */
	readonly entries: readonly number[];
	/** What is left to do: bytes to fetch and bytes to write. */
	readonly bytes: number;
}

/**
 * The connected components of tiles over the entries they fill, in source order: by their first tiles. Entries that no tile fills
 * have no elements; they come first, one component each.
 */
export function componentsOf(
	plan: Plan,
	isFinished: (entry: number) => boolean,
): readonly Component[] {
	const leaders = connectedEntries(plan);
	const byLeader = new Map<number, { tiles: number[]; entries: number[] }>();
	const unfilled: Component[] = [];
	for (const [tile, { slabs }] of plan.tiles.entries()) {
		const leader = leaders.leaderOf(at(slabs, 0).firstEntry);
		const component = byLeader.get(leader) ?? { tiles: [], entries: [] };
		byLeader.set(leader, component);
		component.tiles.push(tile);
	}
	for (const entry of plan.entries.keys()) {
		const component = byLeader.get(leaders.leaderOf(entry));
		if (component === undefined) unfilled.push({ tiles: [], entries: [entry], bytes: 0 });
		else component.entries.push(entry);
	}
	const filled = [...byLeader.values()].map(({ tiles, entries }) => {
		return { tiles, entries, bytes: bytesLeft(plan, tiles, entries, isFinished) };
	});
	return [...unfilled, ...filled];
}

function bytesLeft(
	plan: Plan,
	tiles: readonly number[],
	entries: readonly number[],
	isFinished: (entry: number) => boolean,
): number {
	let [all, left] = [0, 0];
	for (const entry of entries) {
		const { length } = at(plan.entries, entry);
		all += length;
		if (!isFinished(entry)) left += length;
	}
	const fetched = tiles.reduce((sum, tile) => sum + at(plan.tiles, tile).stagingBytes, 0);
	// Finished entries take their part of the fetched bytes with them: nearly always exactly, and this only balances.
	return left === 0 ? 0 : left + (fetched * left) / all;
}

/** Entries that tiles connect are in one set. */
function connectedEntries(plan: Plan): DisjointSets {
	const sets = createDisjointSets(plan.entries.length);
	for (const { slabs } of plan.tiles) {
		const first = at(slabs, 0).firstEntry;
		for (const { firstEntry, endEntry } of slabs) {
			for (let entry = firstEntry; entry < endEntry; entry++) sets.join(first, entry);
		}
	}
	return sets;
}
