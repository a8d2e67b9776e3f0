/** Sets of the numbers from 0 up to but not including some count, which can be joined: union-find. */
export interface DisjointSets {
	/** The number that stands for the set of `member`: the same for all of a set, until it is joined with another. */
	leaderOf(member: number): number;
	/** Makes one set of the sets of both; the leader of `first` leads it. */
	join(first: number, second: number): void;
}

/** Each of `count` numbers in a set of its own. */
export function createDisjointSets(count: number): DisjointSets {
	const parents = Int32Array.from({ length: count }, (_, member) => member);
	const leaderOf = (member: number): number => {
		let leader = member;
		while (parents[leader] !== leader) {
			// Halving the path on the way keeps later searches short.
			const next = parents[parents[leader] ?? 0] ?? 0;
			parents[leader] = next;
			leader = next;
		}
		return leader;
	};
	return {
		leaderOf,
		join(first, second) {
			parents[leaderOf(second)] = leaderOf(first);
		},
	};
}
