import { wholeBox } from "../core/box.ts";
import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import type { Layout, LayoutRules } from "../core/layout.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { Source } from "../core/source.ts";
import type { ReadCheckpoint } from "../dcp/checkpoint-reader.ts";
import { createLayout } from "../layout/create-layout.ts";
import type { LayoutFile } from "../layout/layout-file.ts";
import { createLikeLayout, ranksOfFiles } from "../layout/like-layout.ts";
import { type Parallelism, resolveParallelism } from "../layout/parallelism.ts";
import { createPlacedLayout } from "../layout/placed-layout.ts";
import type { ExplainKeys } from "../lint/key-findings.ts";
import type { ExpectedTensor, Trainer } from "../lint/types.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { Family } from "../models/family.ts";
import { reasonOfForeign } from "../models/foreign-keys.ts";
import { mapModel } from "../models/map-model.ts";
import { HF_TARGET, isHfTarget, resolveTarget } from "../models/target.ts";
import type { LintOptions } from "../options.ts";
import { explainBy } from "./explain-keys.ts";
import type { LayoutChoice } from "./layout-choice.ts";

/** Where the keys, shapes and dtypes of a trainer come from. */
export type TrainerKeys = "manifest" | "model" | "like" | "layout" | "checkpoint";

/** A trainer, and how it came about. */
export interface ArrangedTrainer {
	readonly trainer: Trainer;
	readonly keys: TrainerKeys;
	/** Key profile, where there is one. */
	readonly target: string | undefined;
	/** What fused QKV depends on; `undefined` for a layout that was read. */
	readonly mesh: { readonly parallelism: Parallelism; readonly rules: LayoutRules } | undefined;
	readonly explainKeys: ExplainKeys;
}

/** What is known of the model beside the checkpoint. */
export interface KnownModel {
	/** Of the headers, or as the manifest says. */
	readonly source: Source | undefined;
	readonly manifest: Manifest | undefined;
	/** Read. */
	readonly family: string | Family | undefined;
}

/** Options that say what the trainer is. */
type TrainerOptions = Pick<LintOptions, "model" | "target" | "dtype" | "prefix"> & {
	/** Whether any degree was given. */
	readonly hasMesh: boolean;
};

/** Keys, and what a layout is made of. */
interface Keys {
	readonly kind: TrainerKeys;
	readonly tensors: readonly ExpectedTensor[];
	readonly target: string | undefined;
	readonly rules: LayoutRules;
	readonly facts: ModelFacts;
}

/**
 * Who is to load the checkpoint: which tensors it has, and who holds what of them.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when the model does not fit the mesh; errors of the target, the family and the layout.
 */
export function arrangeTrainer(
	checkpoint: ReadCheckpoint,
	options: TrainerOptions,
	choice: LayoutChoice,
	known: KnownModel,
): ArrangedTrainer {
	if (choice.kind === "like") return arrangeLike(options, choice);
	const keys =
		choice.kind === "layout" && known.source === undefined
			? keysOfLayout(choice.files, checkpoint)
			: keysOf(checkpoint, options, known);
	const { layout, parallelism } = layoutOf(checkpoint, options, choice, keys, known.manifest);
	const { prefix = "" } = options;
	return {
		trainer: {
			tensors: keys.tensors.map((tensor) => ({ ...tensor, fqn: prefix + tensor.fqn })),
			objects: [],
			layout: prefix === "" ? layout : withPrefix(layout, prefix),
		},
		keys: keys.kind,
		target: keys.target,
		mesh: parallelism === undefined ? undefined : { parallelism, rules: keys.rules },
		explainKeys: explainBy(checkpoint, keys.target, known),
	};
}

function arrangeLike(
	{ prefix }: TrainerOptions,
	{ path, tensors, worldSize, objects }: Extract<LayoutChoice, { kind: "like" }>,
): ArrangedTrainer {
	if (prefix !== undefined) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			"prefix: the checkpoint that is like the trainer's has its keys already",
			{ hint: "Leave out --prefix." },
		);
	}
	return {
		trainer: {
			tensors: tensors.map(({ fqn, shape, dtype }) => ({ fqn, shape, dtype })),
			objects,
			layout: createLikeLayout({ where: path, tensors, worldSize }),
		},
		keys: "like",
		target: undefined,
		mesh: undefined,
		explainKeys: () => undefined,
	};
}

/** Rules that name every tensor with its shape, as `dump_layout.py` writes them, are the trainer's keys. */
function keysOfLayout(files: readonly LayoutFile[], checkpoint: ReadCheckpoint): Keys {
	const named = new Map<string, ExpectedTensor>();
	for (const { fqn, shape, dtype } of files.flatMap((file) => file.tensors)) {
		if (fqn.includes("*") || shape === undefined) return keysOfCheckpoint(checkpoint, true);
		if (!named.has(fqn)) named.set(fqn, { fqn, shape, dtype });
	}
	return { ...keysOfCheckpoint(checkpoint, true), kind: "layout", tensors: [...named.values()] };
}

function keysOf(
	checkpoint: ReadCheckpoint,
	{ model, target, dtype }: TrainerOptions,
	{ source, manifest, family }: KnownModel,
): Keys {
	const isAsMade = model === undefined && target === undefined && dtype === undefined;
	if (manifest !== undefined && isAsMade && family === undefined) {
		const { tensors, rules, facts } = manifest;
		const expected = tensors.map(({ fqn, shape }): ExpectedTensor => ({ fqn, shape }));
		return { kind: "manifest", tensors: expected, target: manifest.target, rules, facts };
	}
	if (source === undefined) {
		if (target !== undefined && target !== HF_TARGET) {
			throw new HfStreamDcpError(
				"OPTIONS_INVALID",
				`target: without its model, ${JSON.stringify(target)} does not say which keys the trainer has`,
				{ hint: "Give the model's repository or directory with --model; its headers are read." },
			);
		}
		return keysOfCheckpoint(checkpoint, false);
	}
	const map = mapModel({
		source,
		family: family ?? (model === undefined ? familyOf(manifest, target) : undefined),
		target: target ?? (model === undefined ? manifest?.target : undefined),
		dtype: dtype ?? "keep",
	});
	const isCast = dtype !== undefined && dtype !== "keep";
	const knowsDtype = isCast || model !== undefined;
	const tensors = map.recipes.map(({ fqn, expr, keepDtype }): ExpectedTensor => {
		if (!knowsDtype) return { fqn, shape: expr.shape };
		return { fqn, shape: expr.shape, dtype: isCast && !keepDtype ? dtype : expr.dtype };
	});
	const { rules, facts } = map;
	const kind = model === undefined ? "manifest" : "model";
	return { kind, tensors, target: map.target, rules, facts };
}

/** The family of the conversion, where the target has families. */
function familyOf(manifest: Manifest | undefined, target: string | undefined): string | undefined {
	const isKept = target !== undefined && isHfTarget(target);
	return isKept || manifest?.family === HF_TARGET ? undefined : manifest?.family;
}

/** The checkpoint's own tensors, as a job that wrapped them in FSDP2 and nothing else has them. */
function keysOfCheckpoint({ tensors }: ReadCheckpoint, isModelOnly: boolean): Keys {
	const kept = tensors.filter(({ fqn }) => !isModelOnly || reasonOfForeign(fqn) === undefined);
	const { rules } = resolveTarget(HF_TARGET, HF_TARGET);
	const facts = {
		layers: 0,
		attentionHeads: 0,
		keyValueHeads: 0,
		experts: 0,
		tiedEmbeddings: false,
	};
	const expected = kept.map(({ fqn, shape }): ExpectedTensor => ({ fqn, shape }));
	return { kind: "checkpoint", tensors: expected, target: undefined, rules, facts };
}

function layoutOf(
	checkpoint: ReadCheckpoint,
	{ hasMesh, model }: TrainerOptions,
	choice: Exclude<LayoutChoice, { kind: "like" }>,
	{ tensors, rules, facts, kind }: Keys,
	manifest: Manifest | undefined,
): { readonly layout: Layout; readonly parallelism?: Parallelism } {
	const dtypes = new Map(checkpoint.tensors.map(({ fqn, dtype }) => [fqn, dtype]));
	if (choice.kind === "layout") {
		const placed = tensors.map((tensor) => ({
			...tensor,
			dtype: tensor.dtype ?? dtypes.get(tensor.fqn) ?? "float32",
		}));
		const { path, files } = choice;
		return {
			layout: createPlacedLayout({ where: path, files, tensors: placed, keepsDtypes: false }),
		};
	}
	const own =
		hasMesh || kind === "model" || model !== undefined ? undefined : manifest?.layout.mesh;
	if (!hasMesh && own === undefined && kind !== "model") {
		return { layout: layoutAsStored(checkpoint) };
	}
	const parallelism = own === undefined ? choice.parallelism : resolveParallelism(own);
	return { layout: createLayout({ parallelism, rules, facts }), parallelism };
}

/**
 * The ranks and blocks that the checkpoint was saved with. Of a tensor whose chunks are no layout, because they leave holes or overlap,
 * every rank wants all.
 */
function layoutAsStored({ tensors, files, directory }: ReadCheckpoint): Layout {
	const names = files.map(({ name }) => name);
	const worldSize = ranksThatSaved(names, directory);
	const like = createLikeLayout({ where: directory, tensors, worldSize });
	const ranks = Array.from({ length: worldSize }, (_, rank) => rank);
	return {
		...like,
		shardsOf(fqn, shape) {
			try {
				return like.shardsOf(fqn, shape);
			} catch (error) {
				if (!isMisfit(error)) throw error;
				return [{ box: wholeBox(shape), ranks }];
			}
		},
	};
}

function ranksThatSaved(names: readonly string[], directory: string): number {
	try {
		return ranksOfFiles(names, directory);
	} catch (error) {
		if (!isMisfit(error)) throw error;
		throw new HfStreamDcpError("OPTIONS_INVALID", error.message, {
			hint: "Give the mesh of the job: --dp-shard, --tp, …",
			cause: error,
		});
	}
}

/** `layout` for names with something before them. */
function withPrefix(layout: Layout, prefix: string): Layout {
	return {
		worldSize: layout.worldSize,
		description: layout.description,
		shardsOf: (fqn, shape) => layout.shardsOf(fqn.slice(prefix.length), shape),
	};
}

/** Whether `error` says that the model does not fit the mesh. */
export function isMisfit(error: unknown): error is HfStreamDcpError {
	return isHfStreamDcpError(error, "LAYOUT_INVALID");
}
