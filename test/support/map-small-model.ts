import type { ModelMap } from "../../src/core/recipe.ts";
import { type HfStreamDcpError, isHfStreamDcpError } from "../../src/core/errors.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { type Shapes, type SmallModel, sourceOf } from "./model-sources.ts";

/** What differs from the model. */
export interface Change {
	readonly config?: { readonly [key: string]: unknown };
	readonly add?: Shapes;
	readonly without?: readonly string[];
	readonly target?: string;
	readonly family?: string;
}

/** Maps `model` after `change`. */
export function map(model: SmallModel, change: Change = {}): ModelMap {
	const shapes = { ...model.shapes, ...change.add };
	for (const name of change.without ?? []) delete shapes[name];
	return mapModel({
		source: sourceOf({ ...model.config, ...change.config }, shapes),
		family: change.family,
		target: change.target ?? "torchtitan",
	});
}

/** The error that `run` must throw. */
export function errorOf(run: () => unknown): HfStreamDcpError {
	try {
		run();
	} catch (error) {
		if (isHfStreamDcpError(error)) return error;
		throw error;
	}
	throw new Error("nothing was thrown");
}
