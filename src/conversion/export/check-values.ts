import { HfStreamDcpError } from "../../core/errors.ts";
import { cast } from "../../core/expr.ts";
import type { ReshardBackend } from "../../core/ports.ts";
import { differingPairs, type ExprPair } from "../../export/compare-tensors.ts";
import type { PreparedExport } from "./prepare-export.ts";

/** What was found out about values that the model has one place or none for. */
export interface CheckedValues {
	/** Keys of constants that no longer hold what the conversion wrote. */
	readonly changedConstants: ReadonlySet<string>;
	readonly warnings: readonly string[];
}

/**
 * Reads what the model has less room for than the checkpoint: tied tensors, of which one is written, and constants, of which none is.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when tensors that the model ties were trained apart.
 */
export async function checkValues(
	{ content, input, plan }: PreparedExport,
	backend: ReshardBackend,
	signal: AbortSignal | undefined,
): Promise<CheckedValues> {
	const { source, bytes } = input;
	const tools = { source, bytes, backend, limits: plan.limits, signal };
	const copies = content.copies.map(({ kept, copy }, place): ExprPair => ({
		name: String(place),
		left: kept.value,
		right: cast(copy.value, kept.value.dtype),
	}));
	const [untied] = await differingPairs(copies, tools);
	const apart = untied === undefined ? undefined : content.copies[Number(untied)];
	if (apart !== undefined) throw trainedApart(apart.name, apart.kept.fqn, apart.copy.fqn);
	const constants = content.constants.map(({ fqn, recipe, value }): ExprPair => ({
		name: fqn,
		left: value,
		right: cast(recipe, value.dtype),
	}));
	const changed = await differingPairs(constants, tools);
	const warnings =
		changed.length === 0
			? []
			: [
					`${changed.length} tensors were trained that the model has no place for, and are left out: ${changed.slice(0, 3).join(", ")}${changed.length > 3 ? ", …" : ""}`,
				];
	return { changedConstants: new Set(changed), warnings };
}

function trainedApart(name: string, kept: string, copy: string): HfStreamDcpError {
	return new HfStreamDcpError(
		"RECIPE_INVALID",
		`${kept} and ${copy} are one tensor of the model, ${name} (tie_word_embeddings), but their values differ: they were trained apart`,
		{
			hint: "The model cannot hold both. Train with tied weights, or begin the training with a model whose config.json says tie_word_embeddings: false and that has both.",
			facts: { name, kept, copy },
		},
	);
}
