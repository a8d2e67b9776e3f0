import type { Layout } from "../core/layout.ts";
import type { ModelMap, SourceNote } from "../core/recipe.ts";
import type { Source } from "../core/source.ts";
import { createLayout } from "../layout/create-layout.ts";
import { createLikeLayout } from "../layout/like-layout.ts";
import { createPlacedLayout } from "../layout/placed-layout.ts";
import { mapModel } from "../models/map-model.ts";
import { matchKeys } from "../models/match-keys.ts";
import { targetsToTry } from "../models/spellings.ts";
import type { ConversionOptions } from "../options.ts";
import type { LayoutChoice } from "./layout-choice.ts";

/** Where a layout that is not made from a mesh came from, and what of it was not used. */
export interface LayoutOrigin {
	/** An existing checkpoint, or layout files. */
	readonly kind: "like" | "layout";
	/** Absolute. */
	readonly path: string;
	/** SHA-256 of what it says of the layout, hexadecimal. */
	readonly digest: string;
	/** What stands before the model's names in the checkpoint: `model.`, or nothing. */
	readonly prefix: string;
	/** Its keys that are not written again, with the reason: the optimizer's and others that are not the model's. */
	readonly leftOut: readonly SourceNote[];
	/** What could be made and it has no key for: constants, second copies of tied tensors. */
	readonly unasked: readonly SourceNote[];
}

/** A model, and who holds what of it. */
export interface ArrangedModel {
	readonly map: ModelMap;
	readonly layout: Layout;
	/** `undefined` for a layout made from a mesh. */
	readonly origin: LayoutOrigin | undefined;
}

/** With the family read. */
type ModelOptions = Pick<ConversionOptions, "family" | "target" | "dtype" | "keepQuantized">;

/**
 * Maps a model to its target and lays it out.
 *
 * @throws {HfStreamDcpError} every error of the family, the target and the layout.
 */
export function arrangeModel(
	source: Source,
	options: ModelOptions,
	choice: LayoutChoice,
): ArrangedModel {
	const { target, dtype } = options;
	if (choice.kind === "like") return arrangeLike(source, options, choice);
	const map = mapTo(target, source, options, choice);
	if (choice.kind === "mesh") {
		const { parallelism } = choice;
		const layout = createLayout({ parallelism, rules: map.rules, facts: map.facts });
		return { map, layout, origin: undefined };
	}
	const { kind, path, digest, files } = choice;
	const tensors = map.recipes.map(({ fqn, expr: { shape, dtype: made } }) => ({
		fqn,
		shape,
		dtype: made,
	}));
	return {
		map,
		layout: createPlacedLayout({ where: path, files, tensors, keepsDtypes: dtype === undefined }),
		origin: { kind, path, digest, prefix: "", leftOut: [], unasked: [] },
	};
}

function mapTo(
	target: string | undefined,
	source: Source,
	{ family, dtype, keepQuantized }: ModelOptions,
	{ kind }: LayoutChoice,
): ModelMap {
	// Each tensor is rounded once, to what the layout stores it as; only then is that known.
	const asMade = kind === "mesh" || keepQuantized ? "keep" : "float32";
	return mapModel({ source, family, target, dtype: dtype ?? asMade, keepQuantized });
}

function arrangeLike(
	source: Source,
	options: ModelOptions,
	choice: Extract<LayoutChoice, { kind: "like" }>,
): ArrangedModel {
	const { family, target, dtype } = options;
	const { kind, path, digest, tensors, objects, worldSize } = choice;
	const matched = matchKeys({
		where: path,
		keys: tensors,
		targets: target === undefined ? targetsToTry(family, source.config) : [target],
		mapTo: (one) => mapTo(one, source, options, choice),
		keepsDtypes: dtype === undefined,
	});
	const { map, prefix, unasked } = matched;
	const used = new Set(map.recipes.map(({ fqn }) => fqn));
	return {
		map,
		layout: createLikeLayout({
			where: path,
			tensors: tensors.filter(({ fqn }) => used.has(fqn)),
			worldSize,
		}),
		origin: {
			kind,
			path,
			digest,
			prefix,
			leftOut: [
				...matched.leftOut,
				...objects.map((name) => ({ name, reason: "no tensor: a pickled object" })),
			],
			unasked,
		},
	};
}
