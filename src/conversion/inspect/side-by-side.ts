import { wholeBox } from "../../core/box.ts";
import type { CheckpointTensor } from "../../core/checkpoint.ts";
import { HfStreamDcpError } from "../../core/errors.ts";
import { type Expr, sourcesOf } from "../../core/expr.ts";
import { formatShape, shapesEqual } from "../../core/shape.ts";
import type { Source } from "../../core/source.ts";
import type { OpenedSource } from "../../fetch/open-source.ts";
import type { Manifest } from "../../manifest/manifest.ts";
import { DEFAULT_MEMORY_BYTES } from "../../options.ts";
import { compareTensors } from "../../values/compare.ts";
import type { ReadableTensor } from "../../values/read-elements.ts";
import { selected, type Selection } from "../../values/selection.ts";
import type { InspectedSource, InspectedTensor, InspectTensorOptions } from "./inspected-tensor.ts";
import { openModel, placeOf } from "./source-tensor.ts";

/** A block of a checkpoint's tensor, to be compared. */
interface SideBySide {
	readonly manifest: Manifest | undefined;
	readonly tensor: CheckpointTensor;
	readonly selection: Selection;
	/** The block, as the checkpoint has it. */
	readonly readable: ReadableTensor;
	readonly options: InspectTensorOptions;
}

/**
 * Makes a block of a checkpoint's tensor again, as the manifest says, of the model that it came from or of another that has the same
 * tensors, and compares both.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` without a manifest, or when the other model lacks a tensor; every error of a source.
 */
export async function compareWithSource(
	side: SideBySide,
): Promise<Pick<InspectedTensor, "values" | "source">> {
	const { manifest, tensor, selection, readable, options } = side;
	const { memoryBytes, signal, onEvent } = options;
	const recipe = recipeOf(manifest, tensor, options);
	if (manifest === undefined) throw new Error("internal error: a recipe without a manifest");
	const repo = typeof options.source === "string" ? options.source : manifest.source.repo;
	const isOwn = repo === manifest.source.repo;
	const pinned = isOwn && manifest.source.commit !== "local" ? manifest.source.commit : undefined;
	await using opened = await openModel(repo, options.revision ?? pinned, options);
	const { source, bytes } = opened;
	checkTensors(source, recipe);
	const { left, right, comparison } = await compareTensors({
		left: readable,
		right: { expr: selected(recipe, selection), source, bytes },
		memoryBytes: memoryBytes ?? DEFAULT_MEMORY_BYTES,
		signal,
		onEvent,
	});
	return { values: left, source: describeSource(opened, recipe, right, comparison) };
}

function describeSource(
	{ source, kind }: OpenedSource,
	recipe: Expr,
	values: InspectedSource["values"],
	comparison: InspectedSource["comparison"],
): InspectedSource {
	const { repo, commit } = source;
	const used = new Set(sourcesOf(recipe).map(({ name }) => name));
	const stored = source.tensors
		.filter(({ name }) => used.has(name))
		.map((tensor) => ({ name: tensor.name, ...placeOf(tensor, wholeBox(tensor.shape)) }));
	return { repo, commit, kind, recipe, stored, values, comparison };
}

function recipeOf(
	manifest: Manifest | undefined,
	{ fqn, dtype, shape }: CheckpointTensor,
	{ target }: InspectTensorOptions,
): Expr {
	if (manifest === undefined) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${target} has no manifest (hf-stream-dcp.json) that says how ${fqn} was made`,
			{ hint: "--source compares with the source of checkpoints that this program wrote." },
		);
	}
	const made = manifest.tensors.find((one) => one.fqn === fqn);
	if (made === undefined) {
		throw new HfStreamDcpError("CHECKPOINT_CORRUPT", `the manifest of ${target} has no ${fqn}`, {
			hint: "`hf-stream-dcp verify` says what else is wrong.",
		});
	}
	if (made.dtype !== dtype || !shapesEqual(made.shape, shape)) {
		throw new HfStreamDcpError(
			"CHECKPOINT_CORRUPT",
			`${fqn} is ${dtype} ${formatShape(shape)} in ${target}, and was made as ${made.dtype} ${formatShape(made.shape)}`,
			{ hint: "The .metadata is not the one that the manifest belongs to." },
		);
	}
	return made.recipe;
}

/** @throws {HfStreamDcpError} `OPTIONS_INVALID` when the model lacks a tensor of a recipe, or has another under its name. */
function checkTensors({ repo, tensors }: Source, recipe: Expr): void {
	const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
	for (const { name, dtype, shape } of sourcesOf(recipe)) {
		const there = byName.get(name);
		if (there !== undefined && there.dtype === dtype && shapesEqual(there.shape, shape)) continue;
		const is =
			there === undefined ? "not there" : `${there.dtype} ${formatShape(there.shape)} there`;
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${repo} cannot be compared with: ${name} is ${is}, and was ${dtype} ${formatShape(shape)}`,
			{ hint: "Give the model that the checkpoint was converted from." },
		);
	}
}
