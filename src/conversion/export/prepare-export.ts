import { join, resolve } from "node:path";
import { MANIFEST_NAME, type Manifest } from "../../manifest/manifest.ts";
import { readManifest } from "../../manifest/read.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../../checkpoint/open-checkpoint.ts";
import { HfStreamDcpError } from "../../core/errors.ts";
import { readCheckpoint } from "../../dcp/checkpoint-reader.ts";
import { divideTensors, type ShardDivision } from "../../export/divide-tensors.ts";
import { combineSources, type ReadableSource } from "../../export/combined-source.ts";
import { findRecipes, type FoundRecipes, type RecipeOrigin } from "../../export/find-recipes.ts";
import { type ExportPlan, planExport } from "../../export/plan-export.ts";
import { type ShardFile, type WeightNames, weightNamesOf } from "../../export/shard-files.ts";
import { planTensors } from "../../export/whole-tensors.ts";
import { DEFAULT_SHARD_BYTES, type ExportOptions } from "../../export-options.ts";
import type { OpenedSource } from "../../fetch/open-source.ts";
import { isSafePath } from "../../fetch/repo-files.ts";
import { limitsFor } from "../../plan/limits.ts";
import type { Plan } from "../../plan/types.ts";
import { readFamily } from "../family/read-family.ts";
import { loadManifest } from "./load-manifest.ts";
import { assertSameModel, openModel } from "./open-model.ts";

/** An export of which nothing was read but metadata and headers. Dispose of it to close what it opened. */
export interface PreparedExport extends AsyncDisposable {
	readonly recipes: FoundRecipes;
	/** Where they came from, if not from mapping the model again. */
	readonly manifest: Manifest | undefined;
	/** The model, if it was opened. */
	readonly model: OpenedSource | undefined;
	/** What is read: the checkpoint, and the model where it fills in. */
	readonly input: ReadableSource;
	readonly content: ExportPlan;
	readonly division: ShardDivision;
	readonly names: WeightNames;
	readonly shards: readonly ShardFile[];
	/** Of whole tensors, each placed in one of `shards`. */
	readonly plan: Plan;
}

/**
 * Reads the metadata of a checkpoint, and the headers of the model where they are needed, and plans the export.
 *
 * @throws {HfStreamDcpError} every error of the checkpoint, of its manifest, of the model and of the recipes.
 */
export async function prepareExport(options: ExportOptions): Promise<PreparedExport> {
	const opened: AsyncDisposable[] = [];
	const close = async (): Promise<void> => {
		for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
	};
	try {
		return { ...(await prepareWith(options, opened)), [Symbol.asyncDispose]: close };
	} catch (error) {
		await close();
		throw error;
	}
}

/** @param opened - Takes what was opened on the way. */
async function prepareWith(
	options: ExportOptions,
	opened: AsyncDisposable[],
): Promise<Omit<PreparedExport, keyof AsyncDisposable>> {
	const directory = resolve(options.directory);
	const { tensors, objects, problems } = await readCheckpoint(directory);
	if (problems.length > 0) throw damaged(directory, problems);
	const manifest = await manifestOf(options, directory);
	const model = await openModel(options, manifest);
	if (model !== undefined) opened.push(model);
	const origin = await originOf(options, directory, manifest, model);
	const keys = objects.map(({ fqn }) => fqn);
	const recipes = findRecipes(directory, tensors, keys, origin);
	if (model !== undefined) assertSameModel(model.source, recipes.source);
	const wanted = new Set(recipes.map.recipes.map(({ fqn }) => fqn));
	const checkpoint = await openCheckpoint({
		directory,
		isWanted: (fqn) => wanted.has(fqn),
		signal: options.signal,
	});
	opened.push(checkpoint);
	return { recipes, manifest, model, ...planFiles(options, recipes, checkpoint, model) };
}

function damaged(directory: string, problems: readonly string[]): HfStreamDcpError {
	return new HfStreamDcpError("CHECKPOINT_CORRUPT", `${directory}: ${problems.join("\n  ")}`, {
		hint: "`hf-stream-dcp verify` says what is wrong. Of --local-output, every directory holds a part: put them together first.",
		facts: { directory, problems },
	});
}

async function manifestOf(
	{ manifest, family, target }: ExportOptions,
	directory: string,
): Promise<Manifest | undefined> {
	if (manifest !== undefined) return loadManifest(manifest);
	// Who says how to map the model again wants that.
	return (family ?? target) === undefined ? readManifest(directory) : undefined;
}

async function originOf(
	{ family, target }: ExportOptions,
	directory: string,
	manifest: Manifest | undefined,
	model: OpenedSource | undefined,
): Promise<RecipeOrigin> {
	if (manifest !== undefined) return { kind: "manifest", manifest };
	if (model !== undefined) {
		return { kind: "model", source: model.source, family: await readFamily(family), target };
	}
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${directory} does not say how it was made: it has no ${MANIFEST_NAME}`,
		{
			hint: "Give the model that the training began with, --model org/name, or --manifest with the directory of the conversion that it began with.",
			facts: { path: join(directory, MANIFEST_NAME) },
		},
	);
}

function planFiles(
	options: ExportOptions,
	{ source, map }: FoundRecipes,
	checkpoint: OpenedCheckpoint,
	model: OpenedSource | undefined,
): Pick<PreparedExport, "input" | "content" | "division" | "names" | "shards" | "plan"> {
	const { dtype, fill, skipMissing, dryRun, memoryBytes } = options;
	const content = planExport({ source, map, exprs: checkpoint.exprs, dtype, fill });
	if (!skipMissing && !dryRun) assertComplete(content);
	assertSafe(content);
	const names = weightNamesOf(content.tensors[0]?.original.file);
	const division = divisionOf(options, content);
	const shards = divideTensors(content.tensors, division, names);
	const exprs = new Map(content.tensors.map(({ name, expr }) => [name, expr]));
	const made = shards.flatMap(({ tensors }, place) =>
		tensors.flatMap(({ name }) => {
			const expr = exprs.get(name);
			return expr === undefined ? [] : [{ name, expr, place }];
		}),
	);
	const input = combineSources(checkpoint, fill ? model : undefined);
	const plan = planTensors(input.source, made, limitsFor(memoryBytes));
	return { input, content, division, names, shards, plan };
}

function divisionOf({ shards, maxShardBytes }: ExportOptions, content: ExportPlan): ShardDivision {
	const isUnchanged = content.tensors.every(({ original, expr }) => original.dtype === expr.dtype);
	const by = shards ?? (maxShardBytes === undefined && isUnchanged ? "original" : "size");
	return by === "original" ? { by } : { by, maxBytes: maxShardBytes ?? DEFAULT_SHARD_BYTES };
}

/** Tensors that a message names before it only counts. */
const SHOWN = 8;

function assertComplete({ missing }: ExportPlan): void {
	if (missing.length === 0) return;
	const lines = missing.slice(0, SHOWN).map(({ name, reason }) => `  ${name} (${reason})`);
	if (missing.length > SHOWN) lines.push(`  … and ${missing.length - SHOWN} more`);
	throw new HfStreamDcpError(
		"NAMES_UNRESOLVED",
		[`the checkpoint has nothing of ${missing.length} tensors of the model:`, ...lines].join("\n"),
		{
			hint: "Nothing was written. --fill takes them from the model as they were; --skip-missing writes a model without them.",
			facts: { missing: missing.map(({ name }) => name) },
		},
	);
}

/** A manifest is a file like any other: its paths are not to lead out of the directory. */
function assertSafe({ tensors }: ExportPlan): void {
	const bad = tensors.find(
		({ original: { file } }) => !isSafePath(file) || !file.endsWith(".safetensors"),
	);
	if (bad === undefined) return;
	throw new HfStreamDcpError(
		"CHECKPOINT_CORRUPT",
		`the manifest says that ${bad.name} was in ${JSON.stringify(bad.original.file)}, which is no safetensors file of a model`,
		{ hint: "Do not use this manifest.", facts: { file: bad.original.file } },
	);
}
