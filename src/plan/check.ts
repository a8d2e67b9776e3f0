import { type Box, boxNumel, formatBox } from "../core/box.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Shard } from "../core/layout.ts";
import type { ModelMap } from "../core/recipe.ts";
import { at, numel, type Shape, shapesEqual } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import { misusedTensors } from "./source-use.ts";
import { boxElements, tallyOf } from "./tally.ts";

/** Tensors that a message names before it only counts. */
const SHOWN = 20;

/**
 * Proves that every source element is used exactly once, tied, or dropped by name, and that no key is made twice.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` naming the tensors for which that is not so.
 */
export function checkCoverage(source: Source, map: ModelMap): void {
	const twice = keysMadeTwice(map);
	if (twice.length > 0) {
		throw new HfStreamDcpError(
			"RECIPE_INVALID",
			`family ${map.family} makes more than one tensor of the same key: ${listed(twice)}`,
			{ hint: "Give every target of the family a name of its own.", facts: { twice } },
		);
	}
	const misused = misusedTensors(source, map);
	if (misused.length === 0) return;
	const lines = misused.map(
		({ name, reason, targets }) =>
			`${name}: ${reason}${targets.length === 0 ? "" : ` (by ${listed(targets.slice(0, 3))})`}`,
	);
	throw new HfStreamDcpError(
		"RECIPE_INVALID",
		`the recipes of family ${map.family} do not use every source element exactly once:\n  ${listed(lines, "\n  ")}`,
		{
			hint: "Nothing was fetched. Name the tensors in a rule of the family: used, tied or dropped.",
			facts: { misused },
		},
	);
}

/** Keys that more than one recipe has, each once. */
function keysMadeTwice({ recipes }: ModelMap): readonly string[] {
	const seen = new Set<string>();
	const twice = new Set<string>();
	for (const { fqn } of recipes) {
		if (seen.has(fqn)) twice.add(fqn);
		seen.add(fqn);
	}
	return [...twice];
}

function listed(items: readonly string[], separator = ", "): string {
	const rest = items.length - SHOWN;
	const shown = items.slice(0, SHOWN).join(separator);
	return rest > 0 ? `${shown}${separator}and ${rest} more` : shown;
}

/** A layout gives tensors of one shape the same list of shards, again and again. */
const known = new WeakMap<readonly Shard[], { readonly shape: Shape; readonly reason?: string }>();

/** Why `shards` do not hold each element of a tensor of `shape` exactly once; `undefined` when they do. */
export function describeCover(shards: readonly Shard[], shape: Shape): string | undefined {
	const before = known.get(shards);
	if (before !== undefined && shapesEqual(before.shape, shape)) return before.reason;
	const reason = coverReason(
		shards.map(({ box }) => box),
		shape,
	);
	known.set(shards, reason === undefined ? { shape } : { shape, reason });
	return reason;
}

function coverReason(boxes: readonly Box[], shape: Shape): string | undefined {
	const isOutside = ({ offset, size }: Box): boolean =>
		offset.length !== shape.length ||
		offset.some((start, d) => start < 0 || start + at(size, d) > at(shape, d));
	const outside = boxes.find(isOutside);
	if (outside !== undefined) return `the block ${formatBox(outside)} lies outside of it`;
	const sets = boxes.filter((box) => boxNumel(box) > 0).map((box) => boxElements(box, shape));
	const { never, repeatedly } = tallyOf(sets, numel(shape));
	if (never > 0) return `${never} of its ${numel(shape)} elements are in no block`;
	return repeatedly > 0 ? `${repeatedly} of its elements are in more than one block` : undefined;
}
