import { emitTo, type EventListener } from "../core/events.ts";
import type { Entry } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { readCheckpoint } from "../dcp/checkpoint-reader.ts";
import { createDirectorySource } from "../fetch/directory-source.ts";
import type { HubEnvironment } from "../fetch/environment.ts";
import { findDirectory } from "../fetch/open-directory.ts";
import { type OpenedSource, openSource } from "../fetch/open-source.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { limitsFor } from "../plan/limits.ts";
import type { PlanSlab, PlanTile } from "../plan/types.ts";
import { type Comparison, createComparison, runComparison } from "./compare/comparison.ts";
import {
	describeDifference,
	problemRange,
	type TensorDifference,
} from "./compare/difference-tally.ts";
import { compareSources } from "./compare-sources.ts";
import {
	dataBytesOf,
	entriesHere,
	type EntryBlock,
	placesOf,
	tensorsOf,
} from "./manifest-blocks.ts";
import { type Problem, Problems } from "./problem.ts";
import { type Sample, type SampleSize, sampleTiles } from "./sample.ts";

/** What {@link compareWithSource} looks at, and how. */
export interface SourceComparisonOptions {
	/** Absolute path of the checkpoint. */
	readonly directory: string;
	readonly manifest: Manifest;
	/** Where the source is now: as `repo` of a conversion. @default where the manifest says that it was */
	readonly source?: string | undefined;
	readonly sample: SampleSize;
	/** Chooses the sample; a whole number. */
	readonly seed: number;
	readonly environment: HubEnvironment;
	/** Most connections to one origin. */
	readonly connections: number;
	/** As of a conversion's thread. */
	readonly memoryBytes: number;
	readonly signal?: AbortSignal | undefined;
	readonly onEvent?: EventListener | undefined;
}

/** What a checkpoint was compared with, how much of it, and what came of it. Bytes, but for the counts. */
export interface SourceComparison {
	readonly directory: string;
	readonly repo: string;
	readonly commit: string;
	/** Where the bytes came from. */
	readonly sourceKind: OpenedSource["kind"];
	/** The same seed and sample size look at the same bytes again. `undefined` when all were looked at. */
	readonly seed: number | undefined;
	/** Entries of which all or a part was compared; all that the directory has. */
	readonly entries: number;
	readonly allEntries: number;
	/** Data of the checkpoint that was compared; all that the directory has. */
	readonly comparedBytes: number;
	readonly dataBytes: number;
	/** Forms of recipes among what was compared, and in all. */
	readonly recipeKinds: number;
	readonly allRecipeKinds: number;
	/** Weights that were received from the source, its headers, and the requests for weights. */
	readonly fetchedBytes: number;
	readonly headerBytes: number;
	readonly requests: number;
	readonly seconds: number;
	/** Files of the source whose SHA-256 was compared, and all. */
	readonly hashedFiles: number;
	readonly sourceFiles: number;
	readonly differences: readonly TensorDifference[];
	readonly differentElements: number;
	/** All that is wrong, the differences included; at most so many of them are kept. */
	readonly problems: readonly Problem[];
	readonly problemCount: number;
	/** What the user should know, one sentence each. */
	readonly notes: readonly string[];
}

/**
 * Opens the source of a checkpoint again, makes a sample of its bytes, or all, once more, and compares them with the checkpoint, bit for
 * bit. No GPU and no trainer is needed.
 *
 * @throws {HfStreamDcpError} `SOURCE_CHANGED` when the source is no longer what the manifest names; every error of a source;
 * `CHECKPOINT_CORRUPT` when `.metadata` cannot be understood.
 * @throws `signal.reason` when aborted.
 */
export async function compareWithSource(
	options: SourceComparisonOptions,
): Promise<SourceComparison> {
	const { directory, manifest, signal } = options;
	const limits = limitsFor(options.memoryBytes);
	const started = performance.now();
	const onEvent = emitTo(options.onEvent);
	onEvent({ kind: "phase", phase: "resolve" });
	const checkpoint = await readCheckpoint(directory);
	await using opened = await openAgain(options, onEvent);
	for (const message of opened.warnings) onEvent({ kind: "warning", message });
	const isElsewhere = options.source !== undefined;
	const agreement = compareSources(manifest.source, opened.source, isElsewhere);
	onEvent({ kind: "phase", phase: "plan" });
	const problems = new Problems();
	const onProblem = (problem: Problem): void => problems.add(problem);
	const { source } = opened;
	const tensors = tensorsOf(checkpoint, manifest, onProblem);
	const comparison = createComparison({ source, tied: manifest.tied, tensors, limits });
	const isHere = entriesHere(checkpoint, manifest, onProblem);
	const sample = chooseSample(options, comparison, isHere);
	const touched = entriesOf(comparison, isHere, sample.tiles);
	const places = await placesOf(directory, touched, onProblem, signal);
	onEvent({
		kind: "planned",
		fetchBytes: sample.fetchBytes,
		writeBytes: 0,
		entries: touched.length,
	});
	onEvent({ kind: "phase", phase: "stream" });
	await using stored = createDirectorySource(
		directory,
		new Map(checkpoint.files.map(({ name, bytes }) => [name, { path: name, bytes }])),
	);
	const result = await runComparison({
		comparison,
		isLeftOut: (tile) => !sample.tiles.has(tile),
		beginOf: (block) => places.get(block.entry),
		bytes: opened.bytes,
		stored,
		signal,
		onEvent,
	});
	for (const difference of result.differences) problems.add(problemOf(difference));
	const here = entriesOf(comparison, isHere);
	return {
		directory,
		repo: source.repo,
		commit: source.commit,
		sourceKind: opened.kind,
		seed: options.sample === "all" ? undefined : options.seed,
		entries: places.size,
		allEntries: here.length,
		comparedBytes: result.comparedBytes,
		dataBytes: here.reduce((sum, entry) => sum + dataBytesOf(entry), 0),
		recipeKinds: sample.kinds,
		allRecipeKinds: sample.allKinds,
		fetchedBytes: result.fetchedBytes,
		headerBytes: opened.headerBytes,
		requests: result.requests,
		seconds: (performance.now() - started) / 1000,
		hashedFiles: agreement.hashedFiles,
		sourceFiles: agreement.files,
		differences: result.differences,
		differentElements: result.differentElements,
		problems: problems.kept,
		problemCount: problems.count,
		notes: notesOf(manifest, opened, agreement.hashedFiles),
	};
}

/** The source at the commit of the manifest. */
async function openAgain(
	options: SourceComparisonOptions,
	onEvent: EventListener,
): Promise<OpenedSource> {
	const { manifest, environment, connections, signal } = options;
	const { commit } = manifest.source;
	const repo = options.source ?? manifest.source.repo;
	// A directory has no revisions: only the Hub can be asked for a commit.
	const isDirectory = (await findDirectory(repo)) !== undefined;
	const revision = commit === "local" || isDirectory ? undefined : commit;
	return openSource({ repo, revision, environment, connections, signal, onEvent });
}

function chooseSample(
	{ sample, seed }: SourceComparisonOptions,
	{ plan, blocks }: Comparison<EntryBlock>,
	isHere: (entry: Entry) => boolean,
): Sample {
	const isWorthIt = (tile: PlanTile): boolean =>
		tile.slabs.some(({ firstEntry, endEntry }) =>
			blocks.slice(firstEntry, endEntry).some((block) => isHere(block.entry)),
		);
	return sampleTiles(plan, sample, seed, isWorthIt);
}

/** The entries of the directory that some tiles fill, or a part of each; without tiles all. */
function entriesOf(
	{ plan, blocks }: Comparison<EntryBlock>,
	isHere: (entry: Entry) => boolean,
	tiles?: ReadonlySet<number>,
): readonly Entry[] {
	const indices =
		tiles === undefined
			? [...blocks.keys()]
			: [...tiles].flatMap((tile) => at(plan.tiles, tile).slabs.flatMap(indicesOf));
	return [...new Set(indices.map((index) => at(blocks, index).entry))].filter(isHere);
}

function indicesOf({ firstEntry, endEntry }: PlanSlab): readonly number[] {
	return Array.from({ length: endEntry - firstEntry }, (_, index) => firstEntry + index);
}

function problemOf(difference: TensorDifference): Problem {
	const message = `${describeDifference(difference)}: it is not what the recipe makes of the source`;
	return { kind: "source", message, fqn: difference.fqn, ...problemRange(difference) };
}

function notesOf(manifest: Manifest, opened: OpenedSource, hashedFiles: number): readonly string[] {
	const notes: string[] = [];
	const { files } = manifest.source;
	if (opened.kind !== "hub") {
		const place = opened.kind === "cache" ? "the cache of the Hub" : opened.source.repo;
		notes.push(`the weights were read from ${place}, not from the Hub itself`);
	}
	if (hashedFiles < files.length) {
		const count = files.length - hashedFiles;
		notes.push(
			`the SHA-256 of ${count} of ${files.length} source files is stated nowhere, and was not compared`,
		);
	}
	if (manifest.ranks !== undefined) {
		notes.push(`only the files of ranks ${manifest.ranks} are in this directory`);
	}
	return notes;
}
