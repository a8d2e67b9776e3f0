import type { Layout, Shard } from "../core/layout.ts";
import { shardsOfTensor } from "./held-entries.ts";
import type { Plan } from "./types.ts";

/** The sets of ranks that hold the entries of a plan. */
export interface HolderSets {
	/** Distinct; ranks ascending. */
	readonly sets: readonly (readonly number[])[];
	/** Index in {@link sets} of each of `plan.entries`. */
	readonly setOf: Uint32Array;
}

/**
 * Finds out which ranks of the training job hold each entry, replicas included. An entry without elements is in nobody's shard, and
 * counts as held by all.
 *
 * @param layout - The one that the plan was made with.
 */
export function holderSetsOf(plan: Plan, layout: Layout): HolderSets {
	const { sets, indexOf } = createSets();
	// A layout returns the same list for all tensors that it cuts alike.
	const known = new Map<readonly Shard[], Uint32Array>();
	const everybody = Array.from({ length: plan.worldSize }, (_, rank) => rank);
	const setOf = new Uint32Array(plan.entries.length);
	for (const tensor of plan.tensors) {
		const { shards, shardOf } = shardsOfTensor(plan, layout, tensor);
		let ofShards = known.get(shards);
		if (ofShards === undefined) {
			ofShards = Uint32Array.from(shards, ({ ranks }) => indexOf(ranks));
			known.set(shards, ofShards);
		}
		for (let entry = tensor.firstEntry; entry < tensor.endEntry; entry++) {
			const place = entry - tensor.firstEntry;
			setOf[entry] = ofShards[shardOf?.[place] ?? place] ?? indexOf(everybody);
		}
	}
	return { sets, setOf };
}

/** A list of sets, without doubles. */
function createSets(): {
	readonly sets: readonly (readonly number[])[];
	readonly indexOf: (ranks: readonly number[]) => number;
} {
	const sets: (readonly number[])[] = [];
	const byText = new Map<string, number>();
	// Many shards may have one list of a million ranks in common.
	const byList = new Map<readonly number[], number>();
	const indexOf = (ranks: readonly number[]): number => {
		let index = byList.get(ranks);
		if (index !== undefined) return index;
		const text = ranks.join();
		index = byText.get(text) ?? sets.length;
		if (index === sets.length) sets.push(ranks);
		byText.set(text, index);
		byList.set(ranks, index);
		return index;
	};
	return { sets, indexOf };
}
