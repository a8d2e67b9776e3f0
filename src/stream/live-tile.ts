import { at } from "../core/shape.ts";
import { exactRanges, hullsOf, type Places, rangeBytes } from "../plan/footprint.ts";
import { pull } from "../plan/pull.ts";
import type { Plan, PlanTile } from "../plan/types.ts";

/**
 * A tile of which only some entries are left is fetched in as many ranges as planned and this many more. When its bytes are
 * scattered more finely, all of the tile is fetched: thousands of small requests cost more than the bytes they would save.
 */
const MAX_EXTRA_RANGES = 64;

/** Source runs that are looked at for that decision. */
const MAX_RUNS = 65_536;

/**
 * What is left of a tile when some entries are finished already: the other parts, and the source bytes that they read.
 *
 * @returns `undefined` when nothing is left.
 */
export function liveTile(
	plan: Plan,
	tile: PlanTile,
	places: Places,
	isFinished: (entry: number) => boolean,
): PlanTile | undefined {
	const parts = tile.parts.filter((part) => !isFinished(part.entry));
	if (parts.length === 0) return undefined;
	if (parts.length === tile.parts.length) return tile;
	const hulls = parts.flatMap(({ entry, box }) => {
		const { expr } = at(plan.tensors, at(plan.entries, entry).tensor);
		return hullsOf(pull(expr, box), places);
	});
	const exact = exactRanges(hulls, MAX_RUNS);
	const isWorthIt = exact !== undefined && exact.length <= tile.ranges.length + MAX_EXTRA_RANGES;
	if (!isWorthIt) return { ...tile, parts };
	return { parts, ranges: exact, stagingBytes: rangeBytes(exact) };
}
