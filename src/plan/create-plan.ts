import { boxNumel, wholeBox } from "../core/box.ts";
import { DTYPES, type Dtype } from "../core/dtype.ts";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import { cast, sourcesOf } from "../core/expr.ts";
import type { Layout, Shard } from "../core/layout.ts";
import type { EntryFormat } from "../core/ports.ts";
import type { ModelMap, Recipe } from "../core/recipe.ts";
import { at, formatShape, numel } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import type { Atom, Draft } from "./atoms.ts";
import { checkSourceUse } from "./check.ts";
import { fitDrafts } from "./cut.ts";
import { type Places, placesOf } from "./footprint.ts";
import { packTiles } from "./pack.ts";
import { chooseRank, emptyLoads, placeEntries, type RankLoads } from "./place.ts";
import { totalsOf } from "./totals.ts";
import type { Plan, PlanLimits, PlanTensor } from "./types.ts";

/** What the checkpoint's floating-point tensors are stored as; `keep` leaves every tensor in the dtype of its source. */
export type TargetDtype = "keep" | "bfloat16" | "float16" | "float32";

/** Everything a plan depends on. */
export interface PlanInputs {
	readonly source: Source;
	readonly map: ModelMap;
	readonly layout: Layout;
	readonly format: EntryFormat;
	/** Dtype of floating-point tensors, but for those whose loader demands another. */
	readonly dtype: TargetDtype;
	readonly limits: PlanLimits;
}

/**
 * Decides everything about a conversion before a weight byte is fetched: entries, files, offsets, and which source bytes
 * make which entry. Pure and deterministic: the same inputs give the same plan on every machine.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID`, `RECIPE_INVALID`, `DTYPE_UNSUPPORTED` or `BUDGET_EXCEEDED` when it cannot be done.
 */
export function createPlan(inputs: PlanInputs): Plan {
	const { source, map, layout, format, dtype, limits } = inputs;
	const places = placesOf({ source, tied: map.tied });
	const tensors = map.recipes.map((recipe) => ({
		fqn: recipe.fqn,
		expr: typed(recipe, dtype),
		shape: recipe.expr.shape,
	}));
	checkSourceUse(tensors, source, map);
	const loads = emptyLoads(layout.worldSize);
	const wanted = tensors.map((tensor, index) => draftsOf(tensor, index, layout, loads));
	const { drafts, atoms } = fitAll(tensors, wanted, places, limits);
	const typedTensors = tensors.map(({ fqn, expr }) => ({ fqn, dtype: expr.dtype }));
	const { entries, files } = placeEntries(drafts, typedTensors, format);
	const entryIndex = new Map(drafts.map((draft, index) => [draft, index]));
	const tiles = packTiles(
		atoms,
		(draft) => {
			const index = entryIndex.get(draft);
			invariant(index !== undefined, "an atom of a draft that has no entry");
			return index;
		},
		limits.tileBytes,
	);
	const { family, target, tied, dropped, synthesised } = map;
	return Object.freeze({
		version: 1,
		source,
		family,
		target,
		layout: layout.description,
		worldSize: layout.worldSize,
		format: format.name,
		tensors: planTensors(tensors, drafts),
		entries,
		files,
		tiles,
		limits,
		tied,
		dropped,
		synthesised,
		totals: totalsOf({ tiles, entries, files, limits, loads, shards: wanted.flat().length }),
	} satisfies Plan);
}

interface Tensor extends Pick<Recipe, "fqn" | "expr"> {
	readonly shape: readonly number[];
}

function typed(recipe: Recipe, dtype: TargetDtype): Recipe["expr"] {
	const { expr, keepDtype } = recipe;
	if (dtype === "keep" || keepDtype || !DTYPES[expr.dtype].isFloat) return expr;
	return cast(expr, dtype satisfies Dtype);
}

function draftsOf(tensor: Tensor, index: number, layout: Layout, loads: RankLoads): Draft[] {
	const { fqn, shape, expr } = tensor;
	const shards = numel(shape) === 0 ? [emptyShard(shape)] : layout.shardsOf(fqn, shape);
	const covered = shards.reduce((sum, shard) => sum + boxNumel(shard.box), 0);
	if (covered !== numel(shape)) {
		throw new HfStreamDcpError(
			"LAYOUT_INVALID",
			`the layout covers ${covered} of the ${numel(shape)} elements of ${fqn} ${formatShape(shape)}`,
		);
	}
	return shards.map((shard) => ({
		tensor: index,
		expr,
		box: shard.box,
		rank: chooseRank(shard, expr.dtype, loads),
	}));
}

/** A tensor without elements still has one chunk, as torch writes it: its key must be there to be loaded. */
function emptyShard(shape: readonly number[]): Shard {
	return { box: wholeBox(shape), ranks: [0] };
}

/** Fits all drafts into memory, tensors that share source tensors together. Drafts come back in the order of the tensors. */
function fitAll(
	tensors: readonly Tensor[],
	wanted: readonly (readonly Draft[])[],
	places: Places,
	limits: PlanLimits,
): { readonly drafts: readonly Draft[]; readonly atoms: readonly Atom[] } {
	const fitted = wanted.map((): Draft[] => []);
	const atoms = bundles(tensors).flatMap((bundle) => {
		const together = bundle.flatMap((index) => at(wanted, index));
		const result = fitDrafts(together, places, limits);
		for (const draft of result.drafts) at(fitted, draft.tensor).push(draft);
		return result.atoms;
	});
	return { drafts: fitted.flat(), atoms };
}

/** Sets of tensors (as indices) that are connected by shared source tensors. */
function bundles(tensors: readonly Tensor[]): number[][] {
	const names = tensors.map(({ expr }) => sourcesOf(expr).map(({ name }) => name));
	const bundleOf = new Map<string, number[]>();
	const all = new Set<number[]>();
	names.forEach((own, index) => {
		const joined = [index];
		for (const name of own) {
			const bundle = bundleOf.get(name);
			if (bundle === undefined || !all.has(bundle)) continue;
			joined.push(...bundle);
			all.delete(bundle);
		}
		joined.sort((a, b) => a - b);
		all.add(joined);
		for (const name of joined.flatMap((member) => at(names, member))) bundleOf.set(name, joined);
	});
	return [...all];
}

function planTensors(tensors: readonly Tensor[], drafts: readonly Draft[]): PlanTensor[] {
	let next = 0;
	return tensors.map(({ fqn, expr, shape }, index) => {
		const firstEntry = next;
		while (drafts[next]?.tensor === index) next++;
		return { fqn, dtype: expr.dtype, shape, expr, firstEntry, endEntry: next };
	});
}
