import { at } from "../core/shape.ts";
import { exactRanges, stagingBytesOf } from "../plan/footprint.ts";
import { hullsOf } from "../plan/hulls.ts";
import type { Places } from "../plan/places.ts";
import { partsOf } from "../plan/parts.ts";
import { pull } from "../plan/pull.ts";
import type { Plan, PlanPart, PlanTile } from "../plan/types.ts";

/**
 * A tile of which only some entries are left is fetched in as many ranges as planned and this many more. When its bytes are
 * scattered more finely, all of the tile is fetched: thousands of small requests cost more than the bytes they would save.
 */
const MAX_EXTRA_RANGES = 64;

/** Source runs that are looked at for that decision. */
const MAX_RUNS = 65_536;

/** What of a tile is to be done. */
export interface LiveTile extends Pick<PlanTile, "ranges" | "stagingBytes"> {
	readonly parts: readonly PlanPart[];
}

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
): LiveTile | undefined {
	const all = partsOf(plan, tile);
	const parts = all.filter((part) => !isFinished(part.entry));
	if (parts.length === 0) return undefined;
	const { ranges, stagingBytes } = tile;
	if (parts.length === all.length) return { ranges, stagingBytes, parts };
	const hulls = parts.flatMap(({ entry, box }) => {
		const { expr } = at(plan.tensors, at(plan.entries, entry).tensor);
		return hullsOf(pull(expr, box), places);
	});
	const exact = exactRanges(hulls, MAX_RUNS);
	const isWorthIt = exact !== undefined && exact.length <= ranges.length + MAX_EXTRA_RANGES;
	if (!isWorthIt) return { ranges, stagingBytes, parts };
	return { parts, ranges: exact, stagingBytes: stagingBytesOf(exact) };
}
