import type { Expr } from "../core/expr.ts";
import { at } from "../core/shape.ts";
import { rangeBytes } from "../plan/footprint.ts";
import type { Plan, PlanTile } from "../plan/types.ts";

/** How much of the source is looked at: all of it, a part (0 to 1), or so many bytes. */
export type SampleSize = "all" | { readonly part: number } | { readonly bytes: number };

/** What of a plan is looked at. */
export interface Sample {
	/** Indices of tiles. */
	readonly tiles: ReadonlySet<number>;
	/** Source bytes that they read. */
	readonly fetchBytes: number;
	/** Kinds of recipes among them, and in the whole plan. */
	readonly kinds: number;
	readonly allKinds: number;
}

/**
 * Chooses tiles of a plan at random until they read so much of the source, and at least one for every kind of recipe. A tile is what is
 * fetched at once: nothing is fetched that is not compared.
 *
 * @param seed - A whole number; the same one makes the same choice of the same plan.
 * @param isWorthIt - Tiles that may be chosen.
 */
export function sampleTiles(
	plan: Plan,
	size: SampleSize,
	seed: number,
	isWorthIt: (tile: PlanTile) => boolean,
): Sample {
	const kindsOf = tileKinds(plan);
	const order = shuffled(
		[...plan.tiles.keys()].filter((tile) => isWorthIt(at(plan.tiles, tile))),
		seed,
	);
	const kinds = order.map((tile) => kindsOf(at(plan.tiles, tile)));
	const allKinds = new Set(kinds.flatMap((own) => [...own]));
	const bytes = order.map((tile) => rangeBytes(at(plan.tiles, tile).ranges));
	const wanted = wantedBytes(
		size,
		bytes.reduce((sum, own) => sum + own, 0),
	);
	const tiles = new Set<number>();
	const found = new Set<string>();
	let fetchBytes = 0;
	const take = (place: number): void => {
		const tile = at(order, place);
		if (tiles.has(tile)) return;
		tiles.add(tile);
		fetchBytes += at(bytes, place);
		for (const kind of at(kinds, place)) found.add(kind);
	};
	kinds.forEach((own, place) => {
		// Constants cost nothing.
		const isFree = at(bytes, place) === 0;
		if (isFree || [...own].some((kind) => !found.has(kind))) take(place);
	});
	for (const place of order.keys()) if (fetchBytes < wanted) take(place);
	return { tiles, fetchBytes, kinds: found.size, allKinds: allKinds.size };
}

function wantedBytes(size: SampleSize, all: number): number {
	if (size === "all") return Number.POSITIVE_INFINITY;
	return "bytes" in size ? size.bytes : size.part * all;
}

/** The kinds of the tensors that a tile fills. */
function tileKinds(plan: Plan): (tile: PlanTile) => ReadonlySet<string> {
	const kinds = plan.tensors.map(({ expr }) => recipeKind(expr));
	return ({ slabs }) => {
		const own = new Set<string>();
		for (const { firstEntry, endEntry } of slabs) {
			for (let entry = firstEntry; entry < endEntry; entry++) {
				own.add(at(kinds, at(plan.entries, entry).tensor));
			}
		}
		return own;
	};
}

/**
 * The form of a recipe without its names and sizes, `cast bfloat16(permute 1,0(source float32))`: recipes of one kind are made by the
 * same operations.
 */
export function recipeKind(expr: Expr): string {
	switch (expr.kind) {
		case "source":
			return `source ${expr.dtype}`;
		case "fill":
			return `fill ${expr.dtype}`;
		case "cast":
			return `cast ${expr.dtype}(${recipeKind(expr.of)})`;
		case "slice":
			return `slice ${expr.axis}(${recipeKind(expr.of)})`;
		case "permute":
			return `permute ${expr.axes.join()}(${recipeKind(expr.of)})`;
		case "reshape":
			return `reshape ${expr.shape.length}(${recipeKind(expr.of)})`;
		case "concat":
		case "stack":
			return `${expr.kind} ${expr.axis}(${[...new Set(expr.parts.map(recipeKind))].join(", ")})`;
		case "dequant":
			return `dequant ${expr.codec} ${expr.scaleCodec satisfies string}`;
	}
}

/** Fisher–Yates, with a generator that gives the same numbers everywhere. */
function shuffled(items: readonly number[], seed: number): readonly number[] {
	const result = [...items];
	const random = randomNumbers(seed);
	for (let last = result.length - 1; last > 0; last--) {
		const other = Math.floor(random() * (last + 1));
		[result[last], result[other]] = [at(result, other), at(result, last)];
	}
	return result;
}

/** Numbers of at least 0 and less than 1: mulberry32, whose state is 32 bits. */
function randomNumbers(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let mixed = Math.imul(state ^ (state >>> 15), state | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
}
