import { assemble, type Block } from "../checkpoint/assemble.ts";
import { boxKey, boxNumel } from "../core/box.ts";
import type { Dtype } from "../core/dtype.ts";
import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import { cast, type Expr, sourcesOf } from "../core/expr.ts";
import { formatShape, numel, shapesEqual } from "../core/shape.ts";
import { invertRecipe, type Leaf, leafName } from "./invert.ts";

/** A tensor of the checkpoint: how it was made, and what is stored. */
export interface StoredTensor {
	/** Its key in the checkpoint. */
	readonly fqn: string;
	readonly recipe: Expr;
	/** All of it; of the shape of `recipe`, in the dtype that it is stored in. */
	readonly value: Expr;
}

/** What of the checkpoint a leaf of the recipes is in. */
export interface RestoredLeaf {
	readonly leaf: Leaf;
	/** They cover the leaf, or the checkpoint has only a part of it. */
	readonly blocks: readonly Block[];
	/** Keys that the blocks come from, each once. */
	readonly keys: readonly string[];
}

/** A tensor that is stored again what another one holds. */
export interface StoredCopy {
	/** The source tensor that both were made of. */
	readonly name: string;
	/** The key whose elements are taken. */
	readonly kept: StoredTensor;
	readonly copy: StoredTensor;
}

/** All that the tensors of a checkpoint say of what they were made of. */
export interface Restored {
	/** By {@link leafName}. */
	readonly leaves: ReadonlyMap<string, RestoredLeaf>;
	readonly copies: readonly StoredCopy[];
	/** Tensors that were made of nothing. */
	readonly constants: readonly StoredTensor[];
}

/**
 * Inverts recipes. Where several tensors hold the same block of a leaf, which tied ones do, the first counts.
 */
export function restoreLeaves(tensors: readonly StoredTensor[]): Restored {
	const leaves = new Map<string, OpenLeaf>();
	const copies: StoredCopy[] = [];
	const constants: StoredTensor[] = [];
	for (const tensor of tensors) {
		if (sourcesOf(tensor.recipe).length === 0) constants.push(tensor);
		for (const { leaf, box, expr } of invertRecipe(tensor.recipe, tensor.value)) {
			const name = leafName(leaf);
			const open: OpenLeaf = leaves.get(name) ?? {
				leaf,
				blocks: [],
				keys: new Set(),
				byBox: new Map(),
			};
			leaves.set(name, open);
			const key = boxKey(box);
			const kept = open.byBox.get(key);
			if (kept === undefined) {
				open.byBox.set(key, tensor);
				open.blocks.push({ box, expr });
				open.keys.add(tensor.fqn);
			} else if (!copies.some((one) => one.copy === tensor)) {
				copies.push({ name, kept, copy: tensor });
			}
		}
	}
	return {
		leaves: new Map(
			[...leaves].map(([name, { leaf, blocks, keys }]) => [
				name,
				{ leaf, blocks, keys: [...keys] },
			]),
		),
		copies,
		constants,
	};
}

/** A leaf while its blocks are found. */
interface OpenLeaf {
	readonly leaf: Leaf;
	readonly blocks: Block[];
	readonly keys: Set<string>;
	readonly byBox: Map<string, StoredTensor>;
}

/**
 * A leaf as one expression, in `dtype`. What has another one is cast, once.
 *
 * @param name - For messages.
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the blocks are not all of it, or cannot be put together; `DTYPE_UNSUPPORTED`.
 */
export function leafExpr(name: string, { leaf, blocks }: RestoredLeaf, dtype: Dtype): Expr {
	const elements = blocks.reduce((sum, { box }) => sum + boxNumel(box), 0);
	const all = numel(leaf.shape);
	if (elements !== all) {
		throw new HfStreamDcpError(
			"RECIPE_INVALID",
			`${name} ${formatShape(leaf.shape)} cannot be made: its recipes take ${elements} of its ${all} elements`,
			{
				hint: "Use the manifest, or the family, that the checkpoint was made with.",
				facts: { name },
			},
		);
	}
	try {
		const expr = assemble(
			name,
			blocks.map((block) => ({ ...block, expr: cast(block.expr, dtype) })),
		);
		if (shapesEqual(expr.shape, leaf.shape)) return expr;
	} catch (error) {
		if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT", "DTYPE_UNSUPPORTED")) throw error;
		if (error.code === "DTYPE_UNSUPPORTED") throw named(name, error);
	}
	throw new HfStreamDcpError(
		"RECIPE_INVALID",
		`${name} ${formatShape(leaf.shape)} cannot be made: the ${blocks.length} blocks that its recipes divide it into do not fit together`,
		{
			hint: "A mesh and the built-in families cut tensors straight through; this family does not.",
			facts: { name },
		},
	);
}

function named(name: string, error: HfStreamDcpError): HfStreamDcpError {
	return new HfStreamDcpError(error.code, `${name}: ${error.message}`, {
		hint: "Leave out --dtype, or give --dtype stored to keep the bytes of the checkpoint.",
		facts: { ...error.facts, name },
		cause: error,
	});
}

/** The dtypes of what a leaf is made of, each once. */
export function storedDtypes({ blocks }: RestoredLeaf): readonly Dtype[] {
	return [...new Set(blocks.map(({ expr }) => expr.dtype))];
}
