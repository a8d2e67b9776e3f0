import { type Dtype, isCastable } from "../core/dtype.ts";
import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import { sourcesOf } from "../core/expr.ts";
import type { ModelMap, Recipe, SourceNote } from "../core/recipe.ts";
import { formatShape, type Shape, shapesEqual } from "../core/shape.ts";
import { reasonOfForeign, withoutWrappers } from "./foreign-keys.ts";
import { section } from "./unresolved.ts";

/** A tensor of an existing checkpoint. */
export interface CheckpointKey {
	readonly fqn: string;
	/** Global. */
	readonly shape: Shape;
	readonly dtype: Dtype;
}

/** What {@link matchKeys} needs. */
export interface MatchKeysOptions {
	/** What the checkpoint is called in messages. */
	readonly where: string;
	readonly keys: readonly CheckpointKey[];
	/** Targets whose spelling is tried, in this order; at least one. */
	readonly targets: readonly string[];
	/** Maps the model to one of them. */
	readonly mapTo: (target: string) => ModelMap;
	/** Whether tensors are to be stored as the keys are. */
	readonly keepsDtypes: boolean;
}

/** The model, spelled as a checkpoint spells it. */
export interface MatchedKeys {
	/** Its recipes are those that the checkpoint has a key for, under that key. */
	readonly map: ModelMap;
	/** What the trainer put before the model's names: `model.`, or nothing. */
	readonly prefix: string;
	/** Keys that are not the model's. */
	readonly leftOut: readonly SourceNote[];
	/** What the map could make and the checkpoint has no key for: constants, and second copies of tied tensors. */
	readonly unasked: readonly SourceNote[];
}

/**
 * Finds the target whose spelling the keys of a checkpoint have, with or without something before them, and takes its recipes by
 * those keys. Nothing of the model is left over on either side.
 *
 * @throws {HfStreamDcpError} `NAMES_UNRESOLVED`, with all of them, for keys that look like parameters and have no recipe, recipes
 * without a key, shapes that differ and dtypes that cannot be had; of the target that fits best. What `mapTo` throws when no
 * target can be mapped to.
 */
export function matchKeys(options: MatchKeysOptions): MatchedKeys {
	const foreign = new Map<string, string>();
	const candidates: CheckpointKey[] = [];
	for (const key of options.keys) {
		const reason = reasonOfForeign(key.fqn);
		if (reason === undefined) candidates.push(key);
		else foreign.set(key.fqn, reason);
	}
	let best: Match | undefined;
	let failure: unknown;
	for (const target of options.targets) {
		let map: ModelMap;
		try {
			map = options.mapTo(target);
		} catch (error) {
			if (!isHfStreamDcpError(error)) throw error;
			failure ??= error;
			continue;
		}
		const match = matchWith(map, candidates, options.keepsDtypes);
		if (best === undefined || match.rank > best.rank) best = match;
		if (match.isWhole) break;
	}
	if (best === undefined) throw failure;
	// A target that has nothing in common with the keys says less than why the others could not be tried.
	if (!best.isWhole && best.found.size === 0 && failure !== undefined) throw failure;
	if (!best.isWhole) throw mismatch(options, best);
	return resultOf(best, foreign);
}

/** The keys of a checkpoint against the recipes of one target. */
interface Match {
	readonly map: ModelMap;
	readonly prefix: string;
	/** The key of each recipe, by the recipe's own name. */
	readonly found: ReadonlyMap<string, CheckpointKey>;
	readonly outside: readonly CheckpointKey[];
	readonly unasked: readonly SourceNote[];
	readonly unmade: readonly CheckpointKey[];
	readonly missing: readonly Recipe[];
	readonly misshapen: readonly (readonly [Recipe, CheckpointKey])[];
	readonly uncastable: readonly (readonly [Recipe, CheckpointKey])[];
	readonly isWhole: boolean;
	/** The higher, the better the target fits. */
	readonly rank: number;
}

function matchWith(map: ModelMap, keys: readonly CheckpointKey[], keepsDtypes: boolean): Match {
	const recipes = new Map(map.recipes.map((recipe) => [recipe.fqn, recipe]));
	const prefix = votePrefix(keys, recipes);
	const found = new Map<string, CheckpointKey>();
	const outside: CheckpointKey[] = [];
	const unmade: CheckpointKey[] = [];
	for (const key of keys) {
		const clean = withoutWrappers(key.fqn);
		if (!clean.startsWith(prefix)) outside.push(key);
		else {
			const name = clean.slice(prefix.length);
			if (recipes.has(name) && !found.has(name)) found.set(name, key);
			else unmade.push(key);
		}
	}
	const { unasked, missing } = withoutKey(map, found);
	const pairs = [...found].flatMap(([name, key]) => {
		const recipe = recipes.get(name);
		return recipe === undefined ? [] : [[recipe, key] as const];
	});
	const misshapen = pairs.filter(([{ expr }, { shape }]) => !shapesEqual(expr.shape, shape));
	const uncastable = keepsDtypes
		? pairs.filter(([{ expr }, { dtype }]) => !isCastable(expr.dtype, dtype))
		: [];
	const wrong = [unmade, missing, misshapen, uncastable].reduce(
		(sum, list) => sum + list.length,
		0,
	);
	return {
		map,
		prefix,
		found,
		outside,
		unasked,
		unmade,
		missing,
		misshapen,
		uncastable,
		isWhole: wrong === 0,
		rank: wrong === 0 ? Number.POSITIVE_INFINITY : found.size - misshapen.length,
	};
}

/** What stands before the names of most recipes; the shortest of several. */
function votePrefix(keys: readonly CheckpointKey[], recipes: ReadonlyMap<string, Recipe>): string {
	const votes = new Map<string, number>([["", 0]]);
	for (const { fqn } of keys) {
		const clean = withoutWrappers(fqn);
		for (let start = 0; start >= 0; start = nextSegment(clean, start)) {
			if (!recipes.has(clean.slice(start))) continue;
			const prefix = clean.slice(0, start);
			votes.set(prefix, (votes.get(prefix) ?? 0) + 1);
		}
	}
	const sorted = [...votes].toSorted(([a, m], [b, n]) => n - m || a.length - b.length);
	return sorted[0]?.[0] ?? "";
}

/** Where the segment after the one at `start` begins; -1 when there is none. */
function nextSegment(name: string, start: number): number {
	const dot = name.indexOf(".", start);
	return dot < 0 ? -1 : dot + 1;
}

/** Recipes without a key: those that may be left out, since no source element is lost, and those that are missed. */
function withoutKey(
	map: ModelMap,
	found: ReadonlyMap<string, CheckpointKey>,
): Pick<Match, "unasked" | "missing"> {
	const used = new Set(
		map.recipes
			.filter(({ fqn }) => found.has(fqn))
			.flatMap(({ expr }) => sourcesOf(expr).map(({ name }) => name)),
	);
	const tied = new Set(map.tied.map(({ name }) => name));
	const unasked: SourceNote[] = [];
	const missing: Recipe[] = [];
	for (const recipe of map.recipes) {
		if (found.has(recipe.fqn)) continue;
		const sources = sourcesOf(recipe.expr);
		const name = recipe.fqn;
		if (sources.length === 0) unasked.push({ name, reason: "a constant that no key asks for" });
		else if (sources.every((one) => tied.has(one.name) && used.has(one.name))) {
			unasked.push({ name, reason: "a second copy of a tied tensor that no key asks for" });
		} else missing.push(recipe);
	}
	return { unasked, missing };
}

function resultOf(
	{ map, prefix, found, outside, unasked }: Match,
	foreign: ReadonlyMap<string, string>,
): MatchedKeys {
	const keyOf = (name: string): string | undefined => found.get(name)?.fqn;
	const recipes = map.recipes.flatMap((recipe) => {
		const fqn = keyOf(recipe.fqn);
		return fqn === undefined ? [] : [{ ...recipe, fqn }];
	});
	const uses = new Map<string, number>();
	for (const { name } of recipes.flatMap(({ expr }) => sourcesOf(expr))) {
		uses.set(name, (uses.get(name) ?? 0) + 1);
	}
	return {
		map: {
			...map,
			recipes,
			tied: map.tied.filter(({ name }) => (uses.get(name) ?? 0) > 1),
			synthesised: map.synthesised.flatMap((name) => keyOf(name) ?? []),
		},
		prefix,
		leftOut: [
			...[...foreign].map(([name, reason]) => ({ name, reason })),
			...outside.map(({ fqn }) => ({ name: fqn, reason: `not under ${prefix}` })),
		],
		unasked,
	};
}

function nameOf({ fqn }: { readonly fqn: string }): string {
	return fqn;
}

function nameOfPair([recipe]: readonly [Recipe, CheckpointKey]): string {
	return recipe.fqn;
}

function mismatch({ where, targets }: MatchKeysOptions, match: Match): HfStreamDcpError {
	const { map, prefix, unmade, missing, misshapen, uncastable } = match;
	const lines = [
		...section(
			"keys that look like parameters of the model and that nothing makes",
			unmade,
			nameOf,
			nameOf,
		),
		...section("tensors of the model that have no key", missing, nameOf, ({ fqn }) => prefix + fqn),
		...section(
			"shapes that differ",
			misshapen,
			nameOfPair,
			([{ expr }, { fqn, shape }]) =>
				`${fqn} is ${formatShape(shape)} there, ${formatShape(expr.shape)} from the source`,
		),
		...section(
			"dtypes between which there is no cast",
			uncastable,
			nameOfPair,
			([{ expr }, { fqn, dtype }]) => `${fqn} is ${dtype} there, ${expr.dtype} from the source`,
		),
	];
	const under = prefix === "" ? "" : `, under ${prefix}`;
	const tried = targets.length === 1 ? "" : `, which fits best of ${targets.length} targets`;
	const title = `${where} is not of ${map.family} as ${map.target} spells it${under}${tried}:`;
	const names = (list: readonly { readonly fqn: string }[]): readonly string[] => list.map(nameOf);
	return new HfStreamDcpError("NAMES_UNRESOLVED", [title, ...lines].join("\n"), {
		hint: "Nothing was fetched. Check that the checkpoint is of this model, and --target and --family where they were given.",
		facts: {
			target: map.target,
			prefix,
			unmade: names(unmade),
			missing: names(missing),
			misshapen: misshapen.map(([, { fqn }]) => fqn),
			uncastable: uncastable.map(([, { fqn }]) => fqn),
		},
	});
}
