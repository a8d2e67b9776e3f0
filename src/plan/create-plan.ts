import { wholeBox } from "../core/box.ts";
import { DTYPES, type Dtype } from "../core/dtype.ts";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import { cast, isQuantised, sourcesOf } from "../core/expr.ts";
import type { Layout, Shard } from "../core/layout.ts";
import type { EntryFormat } from "../core/ports.ts";
import type { ModelMap, Recipe } from "../core/recipe.ts";
import { at, formatShape, numel, type Shape } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import type { Atom, Draft } from "./region.ts";
import { checkCoverage, describeCover } from "./check.ts";
import { type FittedDrafts, fitDrafts } from "./cut.ts";
import { packTiles } from "./pack.ts";
import { createDisjointSets } from "./disjoint-sets.ts";
import { cutIntoShares } from "./cut-into-shares.ts";
import { chooseRank, emptyLoads, placeEntries, type RankLoads } from "./place.ts";
import { type Places, placesOf } from "./places.ts";
import { totalsOf } from "./totals.ts";
import type { Plan, PlanLimits, PlanTensor, PlanTile } from "./types.ts";

/**
 * What the checkpoint's floating-point tensors are stored as; `keep` leaves every tensor in the dtype of its source, and makes
 * bfloat16 of quantised weights.
 */
export type TargetDtype = "keep" | "bfloat16" | "float16" | "float32";

/** Everything a plan depends on. */
export interface PlanInputs {
	readonly source: Source;
	readonly map: ModelMap;
	readonly layout: Layout;
	readonly format: EntryFormat;
	/** Dtype of floating-point tensors, but for those whose loader demands another. @default as the layout says, otherwise `keep` */
	readonly dtype: TargetDtype | undefined;
	readonly limits: PlanLimits;
	/**
	 * How many shares the plan is cut into, at least 1: workers that have no file and no source byte in common. It decides the
	 * names of the files, and which blocks are cut into more entries.
	 *
	 * @default 1
	 */
	readonly shares?: number | undefined;
	/**
	 * `exact`: each source element must be used once, tied, or dropped by name, and the layout must divide every tensor. `any`: for plans
	 * that are no conversions, as of some blocks that are compared with their source; the layout then gives the blocks that are wanted.
	 *
	 * @default "exact"
	 */
	readonly use?: "exact" | "any" | undefined;
}

/**
 * Decides everything about a conversion before a weight byte is fetched: entries, files, offsets, and which source bytes
 * make which entry. Pure and deterministic: the same inputs give the same plan on every machine.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID`, `RECIPE_INVALID`, `DTYPE_UNSUPPORTED` or `BUDGET_EXCEEDED` when it cannot be done;
 * `OPTIONS_INVALID` for a number of shares that is none.
 */
export function createPlan(inputs: PlanInputs): Plan {
	return cutPlan(draftPlan(inputs), inputs.shares ?? 1);
}

/** All of a plan that does not depend on the number of shares; {@link cutPlan} makes plans of it. */
export interface DraftedPlan {
	readonly inputs: PlanInputs;
	readonly places: Places;
	readonly tensors: readonly Tensor[];
	readonly loads: RankLoads;
	/** Shards of the layout. */
	readonly shards: number;
	/** The blocks that fit into memory, and what is fetched together. */
	readonly fitted: FittedDrafts;
}

/**
 * The larger part of {@link createPlan}, for who wants plans of several numbers of shares.
 *
 * @throws {HfStreamDcpError} as `createPlan`.
 */
export function draftPlan(inputs: PlanInputs): DraftedPlan {
	const { source, map, layout, dtype, limits } = inputs;
	const places = placesOf({ source, tied: map.tied });
	const tensors = map.recipes.map((recipe) => ({
		fqn: recipe.fqn,
		expr: typed(recipe, dtype, layout),
		shape: recipe.expr.shape,
	}));
	if (inputs.use !== "any") checkCoverage(source, map);
	const loads = emptyLoads(layout.worldSize);
	const wanted = tensors.map((tensor, index) => {
		const shards = shardsOf(tensor, layout);
		if (inputs.use !== "any") assertDivided(tensor, shards);
		return draftsOf(tensor, index, shards, loads);
	});
	const shards = wanted.reduce((sum, drafts) => sum + drafts.length, 0);
	return {
		inputs,
		places,
		tensors,
		loads,
		shards,
		fitted: fitAll(tensors, wanted, places, limits),
	};
}

/**
 * The plan in `count` shares.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for a number of shares that is none.
 */
export function cutPlan(drafted: DraftedPlan, count: number): Plan {
	if (!Number.isSafeInteger(count) || count < 1) {
		throw new HfStreamDcpError("OPTIONS_INVALID", `a plan cannot be cut into ${count} shares`);
	}
	const { inputs, places, tensors, loads, shards, fitted } = drafted;
	const { source, map, layout, format, limits } = inputs;
	const lengthOf = ({ expr, box }: Draft): number => entryBytes(expr.dtype, box.size, format);
	const cut = cutIntoShares({ ...fitted, count, places, limits, lengthOf });
	const typedTensors = tensors.map(({ fqn, expr }) => ({ fqn, dtype: expr.dtype }));
	const { entries, files } = placeEntries(cut.drafts, typedTensors, format, cut.shareOf);
	const tiles = tilesOf(cut.drafts, cut.atoms, limits);
	const { family, target, tied, dropped, synthesised, dequantised } = map;
	const totals = totalsOf({
		tiles,
		entries,
		files,
		limits,
		loads,
		shards,
		fitted: fitted.drafts.length,
	});
	return Object.freeze({
		version: 1,
		source,
		family,
		target,
		layout: layout.description,
		worldSize: layout.worldSize,
		shares: count,
		format: format.name,
		tensors: planTensors(tensors, cut.drafts),
		entries,
		files,
		tiles,
		limits,
		tied,
		dropped,
		synthesised,
		dequantised,
		totals,
	} satisfies Plan);
}

/** Packs the atoms of each share by themselves, so that no tile joins two shares. */
function tilesOf(
	drafts: readonly Draft[],
	atoms: readonly (readonly Atom[])[],
	limits: PlanLimits,
): PlanTile[] {
	const indices = new Map(drafts.map((draft, index) => [draft, index]));
	const entryOf = (draft: Draft): number => {
		const index = indices.get(draft);
		invariant(index !== undefined, "an atom of a draft that has no entry");
		return index;
	};
	return atoms.flatMap((own) => packTiles(own, entryOf, limits.tileBytes));
}

function entryBytes(dtype: Dtype, shape: Shape, format: EntryFormat): number {
	const { prefixBytes, dataBytes, suffixBytes } = format.geometry(dtype, shape);
	return prefixBytes + dataBytes + suffixBytes;
}

/** A tensor while its plan is made. */
export interface Tensor extends Pick<Recipe, "fqn" | "expr"> {
	readonly shape: readonly number[];
}

function typed(recipe: Recipe, dtype: TargetDtype | undefined, layout: Layout): Recipe["expr"] {
	const { fqn, expr, keepDtype } = recipe;
	const wanted = dtype === undefined ? layout.dtypeOf?.(fqn) : undefined;
	if (wanted !== undefined) return cast(expr, wanted);
	if (!DTYPES[expr.dtype].isFloat) return expr;
	// The float32 of a product is how it is made, not what the model's authors would have stored.
	if (dtype === undefined || dtype === "keep" || keepDtype) {
		return isQuantised(expr) ? cast(expr, "bfloat16") : expr;
	}
	return cast(expr, dtype satisfies Dtype);
}

function shardsOf({ fqn, shape }: Tensor, layout: Layout): readonly Shard[] {
	return numel(shape) === 0 ? [emptyShard(shape)] : layout.shardsOf(fqn, shape);
}

function assertDivided({ fqn, shape }: Tensor, shards: readonly Shard[]): void {
	const reason = describeCover(shards, shape);
	if (reason === undefined) return;
	throw new HfStreamDcpError(
		"LAYOUT_INVALID",
		`the layout does not divide ${fqn} ${formatShape(shape)}: ${reason}`,
		{ hint: "Each element must be in exactly one block.", facts: { fqn } },
	);
}

function draftsOf(
	{ expr }: Tensor,
	index: number,
	shards: readonly Shard[],
	loads: RankLoads,
): Draft[] {
	return shards.map((one, shard) => ({
		tensor: index,
		expr,
		box: one.box,
		rank: chooseRank(one, expr.dtype, loads),
		shard,
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
): FittedDrafts {
	const fitted = wanted.map((): Draft[] => []);
	const atoms = bundles(tensors).flatMap((bundle) => {
		const together = bundle.flatMap((index) => at(wanted, index));
		const result = fitDrafts(together, places, limits);
		for (const draft of result.drafts) at(fitted, draft.tensor).push(draft);
		return result.atoms;
	});
	return { drafts: fitted.flat(), atoms };
}

/**
 * Sets of tensors (as indices, ascending) that are connected by shared source tensors, in the order of their last members.
 */
function bundles(tensors: readonly Tensor[]): number[][] {
	const sets = createDisjointSets(tensors.length);
	const firstUser = new Map<string, number>();
	tensors.forEach(({ expr }, index) => {
		for (const { name } of sourcesOf(expr)) {
			const user = firstUser.get(name);
			if (user === undefined) firstUser.set(name, index);
			else sets.join(user, index);
		}
	});
	const members = new Map<number, number[]>();
	tensors.forEach((_, index) => {
		const leader = sets.leaderOf(index);
		const bundle = members.get(leader) ?? [];
		bundle.push(index);
		members.set(leader, bundle);
	});
	return [...members.values()].toSorted((a, b) => at(a, a.length - 1) - at(b, b.length - 1));
}

function planTensors(tensors: readonly Tensor[], drafts: readonly Draft[]): PlanTensor[] {
	let next = 0;
	return tensors.map(({ fqn, expr, shape }, index) => {
		const firstEntry = next;
		while (drafts[next]?.tensor === index) next++;
		return { fqn, dtype: expr.dtype, shape, expr, firstEntry, endEntry: next };
	});
}
