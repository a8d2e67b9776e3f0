import type { CheckpointTensor } from "../core/checkpoint.ts";
import type { ModelMap, SourceNote } from "../core/recipe.ts";
import type { Source } from "../core/source.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { Family } from "../models/family.ts";
import { mapModel } from "../models/map-model.ts";
import { matchKeys } from "../models/match-keys.ts";
import { targetsToTry } from "../models/spellings.ts";

/** Who says how a checkpoint was made. */
export type RecipeOrigin =
	/** The manifest of the conversion, also of another checkpoint that a trainer began with. */
	| { readonly kind: "manifest"; readonly manifest: Manifest }
	/** The model, mapped again: by the target whose names the checkpoint has. */
	| {
			readonly kind: "model";
			readonly source: Source;
			/** With its file read. */
			readonly family: string | Family | undefined;
			readonly target: string | undefined;
	  };

/** How the tensors of a checkpoint were made of those of a model. */
export interface FoundRecipes {
	/** The model. */
	readonly source: Source;
	/** Its recipes are under the keys of the checkpoint. */
	readonly map: ModelMap;
	/** What stands before the model's names in the checkpoint: `model.`, or nothing. */
	readonly prefix: string;
	/** Keys of the checkpoint that are not the model's, with the reason. */
	readonly leftOut: readonly SourceNote[];
}

/**
 * Finds the recipes of a checkpoint's tensors.
 *
 * @param where - What the checkpoint is called in messages.
 * @param objects - Its keys that are no tensors.
 * @throws {HfStreamDcpError} as {@link matchKeys}, when the checkpoint is not of the model.
 */
export function findRecipes(
	where: string,
	tensors: readonly CheckpointTensor[],
	objects: readonly string[],
	origin: RecipeOrigin,
): FoundRecipes {
	const source = origin.kind === "manifest" ? origin.manifest.source : origin.source;
	const { map, prefix, leftOut } = matchKeys({
		where,
		keys: tensors,
		targets: targetsOf(origin),
		mapTo: (target) => mapTo(origin, target),
		keepsDtypes: false,
	});
	return {
		source,
		map,
		prefix,
		leftOut: [
			...leftOut,
			...objects.map((name) => ({ name, reason: "no tensor: a pickled object" })),
		],
	};
}

function targetsOf(origin: RecipeOrigin): readonly string[] {
	if (origin.kind === "manifest") return [origin.manifest.target];
	const { target, family, source } = origin;
	return target === undefined ? targetsToTry(family, source.config) : [target];
}

function mapTo(origin: RecipeOrigin, target: string): ModelMap {
	if (origin.kind === "manifest") return mapOf(origin.manifest);
	const { source, family } = origin;
	return mapModel({ source, family, target });
}

/** What the conversion made of the model. */
function mapOf(manifest: Manifest): ModelMap {
	const { family, target, facts, rules, tensors } = manifest;
	const { tied, dropped, synthesised, dequantised } = manifest;
	return {
		family,
		target,
		facts,
		rules,
		recipes: tensors.map(({ fqn, recipe }) => ({ fqn, expr: recipe, keepDtype: false })),
		tied,
		dropped,
		synthesised,
		dequantised,
	};
}
