import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import { emitTo } from "../core/events.ts";
import { type ReadCheckpoint, readCheckpoint } from "../dcp/checkpoint-reader.ts";
import { inspectSource } from "../inspect.ts";
import { wholeQkvOf } from "../layout/fused-qkv.ts";
import { finding } from "../lint/findings.ts";
import { type IndexLint, lintIndex, type LoadCosts } from "../lint/lint-index.ts";
import type { LintFinding } from "../lint/types.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { readManifest } from "../manifest/read.ts";
import type { LintOptions } from "../options.ts";
import { readFamily } from "./family/read-family.ts";
import { type LayoutChoice, readLayoutChoice } from "./layout-choice.ts";
import {
	arrangeTrainer,
	type ArrangedTrainer,
	isMisfit,
	type KnownModel,
	type TrainerKeys,
} from "./lint-trainer.ts";

/** What a job's load of a checkpoint would cost, and whether it would work. */
export interface LintReport {
	/** Absolute. */
	readonly directory: string;
	/** Whether nothing was found that is an error. */
	readonly isFit: boolean;
	/** What the metadata lists. */
	readonly checkpoint: {
		readonly tensors: number;
		readonly entries: number;
		readonly objects: number;
		readonly files: number;
		/** Of `.metadata`, which every rank reads. */
		readonly metadataBytes: number;
	};
	/** Who would load it. `undefined` when the model does not fit the mesh. */
	readonly trainer?:
		| {
				/** Where its keys, shapes and dtypes come from; `checkpoint`: they are the checkpoint's own. */
				readonly keys: TrainerKeys;
				/** Key profile, where there is one. */
				readonly target?: string | undefined;
				/** Its mesh, one line for people. */
				readonly layout: string;
				readonly worldSize: number;
				readonly tensors: number;
		  }
		| undefined;
	/** Errors first. */
	readonly findings: readonly LintFinding[];
	/** `undefined` when the model does not fit the mesh. */
	readonly costs?: LoadCosts | undefined;
	/** Of the reader that Python puts before each file. */
	readonly readBufferBytes: number;
}

/** Python's own, where a file does not tell its block size. */
const DEFAULT_BUFFER_BYTES = 8192;

const SEVERITIES: readonly LintFinding["severity"][] = ["error", "warning", "note"];

/**
 * Says what loading a checkpoint with `torch.distributed.checkpoint` would cost a training job, and whether it would work, from
 * `.metadata`, the sizes of files and, where `model` is given, safetensors headers. No tensor data is read, nothing is unpickled.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` or `CHECKPOINT_CORRUPT` when the metadata cannot be read; errors of the options, the
 * model, its family and target. What is wrong between checkpoint and job is in the report instead.
 */
export async function lintCheckpoint(options: LintOptions): Promise<LintReport> {
	const checkpoint = await readCheckpoint(resolve(options.directory));
	const known = await knownModel(checkpoint, options);
	const readBufferBytes = options.readBufferBytes ?? (await blockBytesOf(checkpoint));
	const { directory, tensors, objects, files, metadataBytes } = checkpoint;
	const report = {
		directory,
		checkpoint: {
			tensors: tensors.length,
			entries: tensors.reduce((sum, { entries }) => sum + entries.length, 0),
			objects: objects.length,
			files: files.length,
			metadataBytes,
		},
		readBufferBytes,
	};
	let arranged: ArrangedTrainer;
	try {
		const choice = await choiceOf(options);
		arranged = arrangeTrainer(checkpoint, { ...options, hasMesh: hasMesh(options) }, choice, known);
	} catch (error) {
		if (!isMisfit(error)) throw error;
		return { ...report, isFit: false, findings: misfitFindings(error) };
	}
	const { findings, costs } = lintArranged(checkpoint, arranged, options, readBufferBytes);
	const { trainer, keys, target } = arranged;
	return {
		...report,
		isFit: findings.every(({ severity }) => severity !== "error"),
		trainer: {
			keys,
			target,
			layout: trainer.layout.description,
			worldSize: trainer.layout.worldSize,
			tensors: trainer.tensors.length,
		},
		findings,
		costs,
	};
}

function lintArranged(
	checkpoint: ReadCheckpoint,
	arranged: ArrangedTrainer,
	{ rank, maxAmplification }: LintOptions,
	bufferBytes: number,
): IndexLint {
	const { trainer, explainKeys } = arranged;
	const { worldSize } = trainer.layout;
	if (rank !== undefined && rank >= worldSize) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`rank: there is no rank ${rank} in a job of ${worldSize}`,
			{ hint: `Ranks are 0 to ${worldSize - 1}.` },
		);
	}
	const { metadataBytes, metadataFiles, files } = checkpoint;
	const { findings, costs } = lintIndex({
		index: checkpoint,
		files,
		metadataBytes: metadataBytes / metadataFiles.length,
		trainer,
		bufferBytes,
		maxAmplification,
		explainKeys,
		rank,
	});
	const all = [
		...findings,
		...rankMetadataFindings(checkpoint, worldSize),
		...qkvFindings(arranged, checkpoint),
	];
	return { findings: all.toSorted(bySeverity), costs };
}

function bySeverity(a: LintFinding, b: LintFinding): number {
	return SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity);
}

function misfitFindings({ message, hint = "" }: HfStreamDcpError): readonly LintFinding[] {
	return [
		{ kind: "mesh", severity: "error", message, raises: undefined, hint, count: 1, examples: [] },
	];
}

function hasMesh({ parallelism = {} }: LintOptions): boolean {
	return Object.values(parallelism).some((value) => value !== undefined);
}

function choiceOf({ like, layout, parallelism = {} }: LintOptions): Promise<LayoutChoice> {
	return readLayoutChoice({ like, layout, parallelism });
}

async function knownModel(checkpoint: ReadCheckpoint, options: LintOptions): Promise<KnownModel> {
	const family = await readFamily(options.family);
	if (options.model === undefined) {
		const manifest = await manifestOf(checkpoint);
		return { source: manifest?.source, manifest, family };
	}
	await using opened = await inspectSource({
		...options,
		repo: options.model,
		onEvent: emitTo(options.onEvent),
	});
	return { source: opened.source, manifest: undefined, family };
}

/** The manifest, where it is of this metadata: a trainer may have saved over a converted checkpoint. */
async function manifestOf({
	directory,
	metadataFiles,
	metadataBytes,
}: ReadCheckpoint): Promise<Manifest | undefined> {
	const manifest = await readManifest(directory);
	const [name = ""] = metadataFiles;
	if (manifest === undefined || manifest.metadata.bytes !== metadataBytes) return undefined;
	const bytes = await readFile(join(directory, name));
	const sha256 = createHash("sha256").update(bytes).digest("hex");
	return sha256 === manifest.metadata.sha256 ? manifest : undefined;
}

/** `st_blksize`, which Python takes as the size of its buffer. @see CPython 3.11 `Modules/_io/_iomodule.c` `_io_open_impl` */
async function blockBytesOf({ directory, files }: ReadCheckpoint): Promise<number> {
	const file = files.find(({ isMissing }) => !isMissing);
	if (file === undefined) return DEFAULT_BUFFER_BYTES;
	const { blksize } = await stat(join(directory, file.name));
	return blksize > 1 ? blksize : DEFAULT_BUFFER_BYTES;
}

/** Without `.metadata`, every rank reads the metadata that a rank of the same number wrote, and sees its chunks alone. */
function rankMetadataFindings(
	{ metadataFiles }: ReadCheckpoint,
	worldSize: number,
): readonly LintFinding[] {
	const [first = ""] = metadataFiles;
	if (first === ".metadata") return [];
	const isSame = metadataFiles.length === worldSize;
	return finding({
		kind: "rank-metadata",
		severity: isSame ? "warning" : "error",
		message: isSame
			? "every rank reads a metadata file of its own, and finds what the rank of that number saved: the job must be cut as the one that saved it"
			: `${metadataFiles.length} ranks saved this checkpoint each with a metadata file of its own, and ${worldSize} ranks would load it`,
		raises:
			worldSize > metadataFiles.length
				? "AssertionError: metadata is None; global metadata read failed: …; rank local metadata read failed: …"
				: undefined,
		hint: "It was saved with use_collectives=False: load it on the mesh that saved it, and save it again with collectives.",
		all: metadataFiles,
	});
}

function qkvFindings(
	{ trainer, mesh }: ArrangedTrainer,
	checkpoint: ReadCheckpoint,
): readonly LintFinding[] {
	if (mesh === undefined) return [];
	const dtypes = new Map(checkpoint.tensors.map(({ fqn, dtype }) => [fqn, dtype]));
	const tensors = trainer.tensors.flatMap(({ fqn, shape }) => {
		const dtype = dtypes.get(fqn);
		return dtype === undefined ? [] : [{ fqn, shape, dtype }];
	});
	const bytes = wholeQkvOf({ tensors, layout: trainer.layout, ...mesh });
	if (bytes === 0) return [];
	return finding({
		kind: "qkv",
		severity: "note",
		message: `the trainer fuses QKV, and asks on every rank for wq, wk and wv as wholes: up to ${bytes} bytes each`,
		raises: undefined,
		hint: "A model that does not fuse QKV (--target …+unfused) reads its part of them.",
		all: ["wq, wk, wv"],
	});
}
