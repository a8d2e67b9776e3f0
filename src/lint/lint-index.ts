import type { CheckpointIndex } from "../core/checkpoint.ts";
import { at } from "../core/shape.ts";
import { costsOf, type RankReader } from "./costs.ts";
import { finding } from "./findings.ts";
import { type ExplainKeys, keyFindings } from "./key-findings.ts";
import { placeTensors } from "./place.ts";
import { type DataFile, storageFindings } from "./storage-findings.ts";
import type { LintFinding, RankCost, TensorCost, Trainer } from "./types.ts";

/** What {@link lintIndex} needs. */
export interface LintIndexOptions {
	readonly index: CheckpointIndex;
	/** The data files that the index names. */
	readonly files: readonly DataFile[];
	/** Bytes of the metadata that every rank reads. */
	readonly metadataBytes: number;
	readonly trainer: Trainer;
	/** Of the reader that Python puts before a file: the file system's block size. */
	readonly bufferBytes: number;
	/** Fails when a rank reads more than this many times what it needs. */
	readonly maxAmplification?: number | undefined;
	readonly explainKeys?: ExplainKeys | undefined;
	/** A rank that is looked at tensor by tensor. */
	readonly rank?: number | undefined;
}

/** Smallest, mean and largest of the ranks, and the first that has the largest. */
export interface Spread {
	readonly min: number;
	readonly mean: number;
	readonly max: number;
	readonly worstRank: number;
}

/** What loading costs all ranks together and each. */
export interface LoadCosts {
	/** What the file system sees: all ranks together, `.metadata` included. */
	readonly total: {
		readonly readBytes: number;
		readonly dataBytes: number;
		readonly neededBytes: number;
		readonly metadataBytes: number;
		readonly entries: number;
		readonly reads: number;
		readonly files: number;
		/** `readBytes / neededBytes`. */
		readonly amplification: number;
	};
	readonly perRank: {
		readonly readBytes: Spread;
		readonly dataBytes: Spread;
		readonly neededBytes: Spread;
		readonly amplification: Spread;
		readonly entries: Spread;
		readonly reads: Spread;
		readonly files: Spread;
		readonly peakBytes: Spread;
	};
	/** In the order of the ranks. */
	readonly ranks: readonly RankCost[];
	/** Of the rank that was asked for: what costs most first. */
	readonly tensors?: readonly TensorCost[] | undefined;
}

/** What {@link lintIndex} finds. */
export interface IndexLint {
	readonly findings: readonly LintFinding[];
	readonly costs: LoadCosts;
}

/** Beyond this, small reads cost more than the small tensors themselves are worth. */
const LARGE_BUFFER_BYTES = 256 * 1024;

/**
 * What a trainer's load of a checkpoint would cost, and what would go wrong, from the metadata alone.
 *
 * What cannot be loaded (missing keys, other shapes) is left out of the costs.
 */
export function lintIndex(options: LintIndexOptions): IndexLint {
	const { index, files, metadataBytes, trainer, bufferBytes, rank } = options;
	const tensors = new Map(index.tensors.map((tensor) => [tensor.fqn, tensor]));
	const placement = placeTensors(trainer, tensors, index.objects);
	const { ranks, readRank } = costsOf({
		placement,
		worldSize: trainer.layout.worldSize,
		fileBytes: new Map(
			files.filter(({ isMissing }) => !isMissing).map(({ name, bytes }) => [name, bytes]),
		),
		bufferBytes,
	});
	const costs: LoadCosts = {
		...summarise(ranks, metadataBytes),
		...(rank === undefined ? {} : { tensors: tensorsOf(readRank, rank) }),
	};
	return {
		findings: [
			...keyFindings(trainer, index, tensors, options.explainKeys ?? (() => undefined)),
			...storageFindings(placement, files),
			...wasteFindings(costs, options.maxAmplification),
			...bufferFindings(bufferBytes),
		],
		costs,
	};
}

/** How many times what it needs a rank reads; 1 for a rank that needs and reads nothing. */
export function amplificationOf({
	readBytes,
	neededBytes,
}: Pick<RankCost, "readBytes" | "neededBytes">): number {
	return readBytes === neededBytes ? 1 : readBytes / neededBytes;
}

function summarise(ranks: readonly RankCost[], metadataBytes: number): LoadCosts {
	const sum = (pick: (cost: RankCost) => number): number =>
		ranks.reduce((total, cost) => total + pick(cost), 0);
	const readBytes = sum((cost) => cost.readBytes);
	const neededBytes = sum((cost) => cost.neededBytes);
	return {
		total: {
			readBytes,
			dataBytes: sum(({ dataBytes }) => dataBytes),
			neededBytes,
			metadataBytes: metadataBytes * ranks.length,
			entries: sum(({ entries }) => entries),
			reads: sum(({ reads }) => reads),
			files: sum(({ files }) => files),
			amplification: amplificationOf({ readBytes, neededBytes }),
		},
		perRank: {
			readBytes: spread(ranks, (cost) => cost.readBytes),
			dataBytes: spread(ranks, ({ dataBytes }) => dataBytes),
			neededBytes: spread(ranks, (cost) => cost.neededBytes),
			amplification: spread(ranks, amplificationOf),
			entries: spread(ranks, ({ entries }) => entries),
			reads: spread(ranks, ({ reads }) => reads),
			files: spread(ranks, ({ files }) => files),
			peakBytes: spread(ranks, ({ peakBytes }) => peakBytes),
		},
		ranks,
	};
}

function spread(ranks: readonly RankCost[], pick: (cost: RankCost) => number): Spread {
	let [min, max, sum, worstRank] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
	for (const cost of ranks) {
		const value = pick(cost);
		sum += value;
		if (value < min) min = value;
		if (value > max) [max, worstRank] = [value, cost.rank];
	}
	return { min, mean: sum / ranks.length, max, worstRank };
}

function tensorsOf(readRank: RankReader, rank: number): readonly TensorCost[] {
	const costs: TensorCost[] = [];
	readRank(rank, (cost) => {
		if (cost.entries > 0 || cost.neededBytes > 0) costs.push(cost);
	});
	return costs.toSorted((a, b) => b.readBytes - a.readBytes);
}

function wasteFindings(
	{ ranks }: LoadCosts,
	maxAmplification: number | undefined,
): readonly LintFinding[] {
	if (maxAmplification === undefined) return [];
	const over = ranks
		.filter((cost) => amplificationOf(cost) > maxAmplification)
		.toSorted((a, b) => amplificationOf(b) - amplificationOf(a));
	return finding({
		kind: "waste",
		severity: "error",
		message: `${over.length} of ${ranks.length} ranks read more than ${maxAmplification} times what they need, rank ${over[0]?.rank ?? 0} ${over[0] === undefined ? "" : amplificationOf(at(over, 0)).toFixed(2)} times`,
		raises: undefined,
		hint: "torch reads every entry of which it needs an element as a whole: convert the model for this mesh.",
		all: over.map((cost) => `rank ${cost.rank}: ${amplificationOf(cost).toFixed(2)}×`),
	});
}

function bufferFindings(bufferBytes: number): readonly LintFinding[] {
	if (bufferBytes <= LARGE_BUFFER_BYTES) return [];
	return finding({
		kind: "buffer",
		severity: "warning",
		message: `the file system says that its block is ${bufferBytes} bytes: Python reads that much for each of a dozen small reads of every entry`,
		raises: undefined,
		hint: "Many small tensors are slow to load from it; the bytes above count it.",
		all: ["st_blksize"],
	});
}
