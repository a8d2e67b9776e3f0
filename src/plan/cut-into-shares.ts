import { invariant } from "../core/errors.ts";
import type { Atom, Draft } from "./region.ts";
import { balance } from "./balance.ts";
import type { FittedDrafts } from "./cut.ts";
import { groupsOf } from "./groups.ts";
import { type SplitContext, splitGroup } from "./split.ts";

/** All drafts of a plan, in the order of its entries, and the share of each. */
export interface SharedDrafts {
	readonly drafts: readonly Draft[];
	readonly shareOf: (draft: Draft) => number;
	/** The atoms of every share. */
	readonly atoms: readonly (readonly Atom[])[];
}

/** Gives every draft and every atom to one of `count` shares, after cutting what stands in the way of their balance. */
export function cutIntoShares(
	inputs: FittedDrafts & SplitContext & { readonly count: number },
): SharedDrafts {
	const { drafts, atoms, count } = inputs;
	if (count === 1) return { drafts, shareOf: () => 0, atoms: [atoms] };
	const groups = groupsOf(atoms, inputs.lengthOf);
	const shares = balance(groups, count, (group, seams) => splitGroup(group, seams, inputs));
	const shareOf = new Map<Draft, number>();
	for (const [share, own] of shares.entries()) {
		for (const group of own) for (const draft of group.drafts) shareOf.set(draft, share);
	}
	return {
		drafts: [...shareOf.keys()].toSorted(compareDrafts),
		shareOf: (draft) => {
			const share = shareOf.get(draft);
			invariant(share !== undefined, "a draft that is in no share");
			return share;
		},
		atoms: shares.map((own) => own.flatMap((group) => group.atoms)),
	};
}

/** By tensor, then as the layout lists its shards, then by place in the tensor. */
function compareDrafts(a: Draft, b: Draft): number {
	if (a.tensor !== b.tensor) return a.tensor - b.tensor;
	if (a.shard !== b.shard) return a.shard - b.shard;
	for (const [axis, offset] of a.box.offset.entries()) {
		const difference = offset - (b.box.offset[axis] ?? 0);
		if (difference !== 0) return difference;
	}
	return 0;
}
