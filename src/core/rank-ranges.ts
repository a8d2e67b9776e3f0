/**
 * Ranks as ranges, for files and for people.
 *
 * @param ranks - In any order; each once.
 * @returns `0-7,16`
 */
export function formatRankRanges(ranks: readonly number[]): string {
	const runs: [number, number][] = [];
	for (const rank of isAscending(ranks) ? ranks : ranks.toSorted((a, b) => a - b)) {
		const last = runs.at(-1);
		if (last !== undefined && rank <= last[1] + 1) last[1] = rank;
		else runs.push([rank, rank]);
	}
	return runs.map(([first, end]) => (first === end ? `${first}` : `${first}-${end}`)).join(",");
}

/**
 * The ranks that {@link formatRankRanges} wrote down, as ranges: from the first up to and including the last of each, ascending.
 *
 * @returns `undefined` for any other text.
 */
export function parseRankRanges(
	text: string,
): readonly (readonly [first: number, last: number])[] | undefined {
	if (!/^\d{1,9}(?:-\d{1,9})?(?:,\d{1,9}(?:-\d{1,9})?)*$/.test(text)) return undefined;
	const ranges = text.split(",").map((range) => {
		const [first = "", last = first] = range.split("-");
		return [Number(first), Number(last)] as const;
	});
	const isInOrder = ranges.every(
		([first, last], index) => first <= last && first > (ranges[index - 1]?.[1] ?? -1),
	);
	return isInOrder ? ranges : undefined;
}

/** The ranks of ranges, one by one. */
export function listRanks(
	ranges: readonly (readonly [first: number, last: number])[],
): readonly number[] {
	return ranges.flatMap(([first, last]) =>
		Array.from({ length: last - first + 1 }, (_, i) => first + i),
	);
}

function isAscending(ranks: readonly number[]): boolean {
	return ranks.every((rank, index) => index === 0 || rank > (ranks[index - 1] ?? rank));
}
