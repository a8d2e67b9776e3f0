import { wholeBox } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import { sourcesOf } from "../core/expr.ts";
import type { Piece } from "../core/ports.ts";
import { ELEMENT_BITS } from "../core/quantisation.ts";
import type { ModelMap, Recipe } from "../core/recipe.ts";
import { numel } from "../core/shape.ts";
import type { Source, SourceTensor } from "../core/source.ts";
import { pull } from "./pull.ts";
import { type ElementSet, elementSet, tallyOf } from "./tally.ts";

/** A source tensor whose elements are not used as they must be. */
export interface MisusedTensor {
	readonly name: string;
	/** `100 of its 400 elements are never used`. */
	readonly reason: string;
	/** Keys of the target tensors that use it. */
	readonly targets: readonly string[];
}

/** What one recipe takes from one source tensor. */
interface Use {
	readonly recipe: Recipe;
	/** `scales`: one serves a block of weights, so that only being used counts. */
	readonly as: "elements" | "scales";
	readonly sets: ElementSet[];
	/** Elements of the tensor, as these sets count them. */
	elements: number;
}

/**
 * The source tensors for which it is not so that each element is used exactly once, or that a rule drops the whole tensor. Of a tensor that is
 * tied, that holds for the recipe it belongs to, and for each of those that store it again. Exact, element by element.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when a recipe is too scattered to be proven.
 */
export function misusedTensors(source: Source, map: ModelMap): readonly MisusedTensor[] {
	const uses = usesOf(map.recipes, new Map(source.tensors.map((tensor) => [tensor.name, tensor])));
	const tied = new Set(map.tied.map((note) => note.name));
	const dropped = new Set(map.dropped.map((note) => note.name));
	const misused: MisusedTensor[] = [];
	for (const tensor of source.tensors) {
		const own = uses.get(tensor.name) ?? [];
		uses.delete(tensor.name);
		const reason = dropped.has(tensor.name)
			? describeDropped(own)
			: describeUse(own, tied.has(tensor.name));
		if (reason !== undefined) misused.push({ name: tensor.name, reason, targets: targetsOf(own) });
	}
	for (const [name, own] of uses) {
		misused.push({ name, reason: "not in the source", targets: targetsOf(own) });
	}
	return misused;
}

function targetsOf(uses: readonly Use[]): readonly string[] {
	return uses.map(({ recipe }) => recipe.fqn);
}

function describeDropped(uses: readonly Use[]): string | undefined {
	return uses.length === 0 ? undefined : "a rule drops it, but it is used";
}

function describeUse(uses: readonly Use[], isTied: boolean): string | undefined {
	const [first] = uses;
	if (first === undefined) return "it is not used, and no rule drops it";
	if (new Set(uses.map(({ as, elements }) => `${as} ${elements}`)).size > 1) {
		return "it is used in more than one way";
	}
	const { as, elements } = first;
	const untied = uses.filter(({ recipe }) => recipe.isTied !== true);
	// A target may have the key of the copy alone.
	const own = untied.length > 0 ? untied : [first];
	const copies = uses.filter((use) => !own.includes(use));
	if (copies.length > 0 && !isTied) return "it is stored again, though nothing ties it";
	// A map that does not say which recipe stores it again is only held to using all of it.
	const isCounted = as === "elements" && (!isTied || copies.length > 0);
	for (const group of [own, ...copies.map((copy) => [copy])]) {
		const sets = group.flatMap((use) => use.sets);
		const { never, repeatedly } = tallyOf(sets, elements);
		const parts = [
			...(never > 0 ? [`${countOf(never, elements)} never used`] : []),
			...(isCounted && repeatedly > 0
				? [`${countOf(repeatedly, elements)} used more than once`]
				: []),
		];
		if (parts.length > 0) return parts.join(", ");
	}
	return undefined;
}

function countOf(count: number, total: number): string {
	return count === total ? "all of its elements are" : `${count} of its ${total} elements are`;
}

function usesOf(
	recipes: readonly Recipe[],
	tensors: ReadonlyMap<string, SourceTensor>,
): Map<string, Use[]> {
	const uses = new Map<string, Use[]>();
	const useOf = (name: string, recipe: Recipe, as: Use["as"], elements: number): ElementSet[] => {
		const known = uses.get(name) ?? [];
		uses.set(name, known);
		const last = known.at(-1);
		if (last?.recipe === recipe && last.as === as && last.elements === elements) return last.sets;
		const made: Use = { recipe, as, sets: [], elements };
		known.push(made);
		return made.sets;
	};
	for (const recipe of recipes) {
		const { expr } = recipe;
		for (const { name, shape } of sourcesOf(expr)) {
			// No piece tells of a tensor without elements.
			if (numel(shape) === 0) useOf(name, recipe, "elements", 0);
		}
		for (const piece of pull(expr, wholeBox(expr.shape))) {
			if (piece.kind === "fill") continue;
			const tensor = tensors.get(piece.source);
			const elements = tensor === undefined ? 0 : elementsIn(tensor, piece);
			useOf(piece.source, recipe, "elements", elements).push(
				elementSet(
					piece.sourceOffset,
					piece.dims.map(({ size, sourceStride }) => ({ size, stride: sourceStride })),
				),
			);
			if (piece.kind !== "dequant") continue;
			const scales = tensors.get(piece.scales);
			useOf(piece.scales, recipe, "scales", numel(scales?.shape ?? [])).push(
				elementSet(
					piece.scaleOffset,
					piece.dims.map(({ size, scaleStride }) => ({ size, stride: scaleStride })),
				),
			);
		}
	}
	return uses;
}

/** How many elements `tensor` holds, as `piece` counts them: a packed tensor holds several in one of its own. */
function elementsIn(
	{ shape, dtype }: SourceTensor,
	piece: Exclude<Piece, { kind: "fill" }>,
): number {
	if (piece.kind === "gather") return numel(shape);
	return (numel(shape) * itemBytes(dtype) * 8) / ELEMENT_BITS[piece.codec];
}
