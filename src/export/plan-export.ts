import { DTYPES, type Dtype, isCastable } from "../core/dtype.ts";
import { cast, type Expr, fill, source as sourceExpr, type SourceExpr } from "../core/expr.ts";
import { invariant } from "../core/errors.ts";
import type { ModelMap, SourceNote } from "../core/recipe.ts";
import { numel } from "../core/shape.ts";
import type { Source, SourceTensor } from "../core/source.ts";
import { logicalTensors } from "../models/quantised/logical.ts";
import { type Leaf, leafName } from "./invert.ts";
import {
	leafExpr,
	type RestoredLeaf,
	restoreLeaves,
	type StoredCopy,
	storedDtypes,
	type StoredTensor,
} from "./restore.ts";
import { substitute } from "./substitute.ts";

/**
 * What floats are written as: `original`, as in the model that the checkpoint was made of, where weights that were quantised are bfloat16;
 * `stored`, as in the checkpoint.
 */
export type ExportDtype = "original" | "stored" | "bfloat16" | "float16" | "float32";

/** A tensor of the model that is written. */
export interface ExportedTensor {
	readonly name: string;
	/** Made of entries of the checkpoint, or of tensors of the model, under {@link modelName}. */
	readonly expr: Expr;
	/** The tensor of the model in whose place it is: of quantised weights, that of the elements. */
	readonly original: SourceTensor;
	readonly from: "checkpoint" | "model";
	/** What it is stored as in the checkpoint; more than one where it was put together of several. None of the model's. */
	readonly stored: readonly Dtype[];
	/** Whether it was quantised in the model, and is not any more. */
	readonly isDequantised: boolean;
}

/** What becomes of a checkpoint. */
export interface ExportPlan {
	/** In the order of the model's files. */
	readonly tensors: readonly ExportedTensor[];
	/** Tensors of the model that the checkpoint has nothing of, under the names that they would have, and that are not taken from it. */
	readonly missing: readonly SourceNote[];
	readonly copies: readonly StoredCopy[];
	readonly constants: readonly StoredTensor[];
}

/** What {@link planExport} depends on. */
export interface ExportInputs {
	/** The model that the checkpoint was made of. */
	readonly source: Source;
	/** Its recipes, under the keys of the checkpoint. */
	readonly map: Pick<ModelMap, "recipes" | "dropped">;
	/** All tensors of the checkpoint that the recipes are of, whole. */
	readonly exprs: ReadonlyMap<string, Expr>;
	readonly dtype: ExportDtype;
	/** Whether tensors that the checkpoint has nothing of are taken from the model. */
	readonly fill: boolean;
}

/** What a tensor of the model is called in the plan, where entries of the checkpoint have their names. */
export function modelName(name: string): string {
	return `${MODEL_PREFIX}${name}`;
}

/** What names and files of the model begin with in the plan. */
export const MODEL_PREFIX = "model:";

/**
 * Decides how each tensor of the model is made of what a checkpoint holds.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when a recipe cannot be undone, `DTYPE_UNSUPPORTED` for a cast that there is not.
 */
export function planExport({ source, map, exprs, dtype, fill: fills }: ExportInputs): ExportPlan {
	const stored = map.recipes.map(({ fqn, expr }): StoredTensor => {
		const value = exprs.get(fqn);
		invariant(value !== undefined, `${fqn} was not opened`);
		return { fqn, recipe: expr, value };
	});
	const { leaves, copies, constants } = restoreLeaves(stored);
	const originals = new Map(source.tensors.map((tensor) => [tensor.name, tensor]));
	const dropped = new Map(map.dropped.map(({ name, reason }) => [name, reason]));
	const tensors: ExportedTensor[] = [];
	const missing: SourceNote[] = [];
	for (const [name, expr] of namedTensors(source, leaves)) {
		const leaf = leafOf(expr);
		const restored = leaves.get(leafName(leaf));
		const original = originals.get(leafName(leaf));
		invariant(original !== undefined, `${leafName(leaf)} is no tensor of the model`);
		const isEmpty = numel(leaf.shape) === 0;
		if (restored === undefined && !isEmpty && !fills) {
			const reason = dropped.get(original.name) ?? "nothing in the checkpoint was made of it";
			missing.push({ name, reason });
			continue;
		}
		const types = restored === undefined ? [] : storedDtypes(restored);
		const wanted = wantedDtype(leaf, types, dtype);
		tensors.push({
			name,
			expr: substitute(expr, () => elementsOf(name, leaf, restored, wanted)),
			original,
			from: restored === undefined && !isEmpty ? "model" : "checkpoint",
			stored: types,
			isDequantised: leaf.kind === "dequant",
		});
	}
	return { tensors, missing, copies, constants };
}

/** The tensors of the model under the names that they have where it is not quantised, unless the recipes kept it so. */
function namedTensors(
	source: Source,
	leaves: ReadonlyMap<string, RestoredLeaf>,
): ReadonlyMap<string, Expr> {
	if ([...leaves.values()].some(({ leaf }) => leaf.kind === "dequant")) {
		return logicalTensors(source, { dtype: "keep", keepQuantized: false }).tensors;
	}
	return new Map(
		source.tensors.map(({ name, dtype, shape }) => [name, sourceExpr(name, dtype, shape)]),
	);
}

/** What a logical tensor is made of: relayouts of one leaf. */
function leafOf(expr: Expr): Leaf {
	let found: Leaf | undefined;
	substitute(expr, (leaf) => {
		found = leaf;
		return leaf;
	});
	invariant(found !== undefined, "a tensor of the model is made of one of its tensors");
	return found;
}

function elementsOf(
	name: string,
	leaf: Leaf,
	restored: RestoredLeaf | undefined,
	dtype: Dtype,
): Expr {
	if (numel(leaf.shape) === 0) return fill(leaf.shape, 0, dtype);
	if (restored !== undefined) return leafExpr(name, restored, dtype);
	if (leaf.kind === "source") return cast(inModel(leaf), dtype);
	return cast({ ...leaf, weight: inModel(leaf.weight), scales: inModel(leaf.scales) }, dtype);
}

function inModel(source: SourceExpr): SourceExpr {
	return { ...source, name: modelName(source.name) };
}

function wantedDtype(leaf: Leaf, stored: readonly Dtype[], dtype: ExportDtype): Dtype {
	const original = leaf.kind === "dequant" ? "bfloat16" : leaf.dtype;
	if (dtype === "original") return original;
	if (dtype === "stored") return (stored.length === 1 ? stored[0] : undefined) ?? original;
	return DTYPES[original].isFloat ? dtype : original;
}

/** Whether `to` holds every value of `from`. */
function holdsAll(from: Dtype, to: Dtype): boolean {
	return from === to || (to === "float32" && isCastable(from, to));
}

/** Tensors whose values were, or will be, rounded from one dtype to another. */
export interface Rounding {
	readonly from: Dtype;
	readonly to: Dtype;
	readonly tensors: number;
}

/** What is rounded on the way back: to fewer bits than the checkpoint holds. */
export function roundingsBack(tensors: readonly ExportedTensor[]): readonly Rounding[] {
	return countRoundings(
		tensors.flatMap(({ stored, expr }) => stored.map((from) => [from, expr.dtype] as const)),
	);
}

/** What was rounded when the checkpoint was made, of what is written with as many bits as the model had. */
export function roundingsBefore(tensors: readonly ExportedTensor[]): readonly Rounding[] {
	return countRoundings(
		tensors.flatMap(({ stored, original, expr, isDequantised }) =>
			isDequantised || expr.dtype !== original.dtype
				? []
				: stored.map((to) => [original.dtype, to] as const),
		),
	);
}

function countRoundings(
	pairs: readonly (readonly [from: Dtype, to: Dtype])[],
): readonly Rounding[] {
	const counts = new Map<string, Rounding>();
	for (const [from, to] of pairs) {
		if (holdsAll(from, to)) continue;
		const key = `${from} ${to}`;
		counts.set(key, { from, to, tensors: (counts.get(key)?.tensors ?? 0) + 1 });
	}
	return [...counts.values()];
}
