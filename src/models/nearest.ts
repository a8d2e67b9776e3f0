/**
 * The candidate that takes the fewest single-character edits to become `name`; `undefined` when none shares half of it.
 *
 * @param candidates - Any number; long lists cost time in proportion.
 */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
	let best: string | undefined;
	let bestDistance = Math.floor(name.length / 2);
	for (const candidate of candidates) {
		if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
		const distance = editDistance(name, candidate, bestDistance);
		if (distance < bestDistance) {
			best = candidate;
			bestDistance = distance;
		}
	}
	return best;
}

/** Levenshtein distance of `a` and `b`, or `limit` when it is no smaller. */
function editDistance(a: string, b: string, limit: number): number {
	let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
	for (let i = 1; i <= a.length; i++) {
		const current = [i];
		let smallest = i;
		for (let j = 1; j <= b.length; j++) {
			const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
			const cost = Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1);
			current.push(cost);
			if (cost < smallest) smallest = cost;
		}
		if (smallest >= limit) return limit;
		previous = current;
	}
	return previous[b.length] ?? limit;
}
