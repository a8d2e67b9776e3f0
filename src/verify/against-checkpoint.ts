import { type OpenedCheckpoint, openCheckpoint } from "../checkpoint/open-checkpoint.ts";
import type { Box } from "../core/box.ts";
import type { CheckpointTensor } from "../core/checkpoint.ts";
import { invariant } from "../core/errors.ts";
import { emitTo, type EventListener } from "../core/events.ts";
import { type Expr, permute } from "../core/expr.ts";
import type { Entry } from "../core/ports.ts";
import { at, formatShape, numel, shapesEqual } from "../core/shape.ts";
import { quote } from "../dcp/corrupt.ts";
import { limitsFor } from "../plan/limits.ts";
import { compareObjects } from "./compare-objects.ts";
import { type ComparedTensor, createComparison, runComparison } from "./compare/comparison.ts";
import {
	describeDifference,
	problemRange,
	type TensorDifference,
} from "./compare/difference-tally.ts";
import type { StoredBlock } from "./compare/stored-block.ts";
import { globMatcher } from "./glob.ts";
import { type Problem, Problems } from "./problem.ts";

/** What {@link compareCheckpoints} looks at, and how. */
export interface CheckpointComparisonOptions {
	/** Absolute path of the checkpoint that is looked at. */
	readonly directory: string;
	/** Absolute path of the one that says what must be in it; its layout may be any. */
	readonly other: string;
	/** Names to look at: `*` is any text, `?` any character. @default all */
	readonly tensors?: string | undefined;
	/** Whether a tensor that only one of them has is no problem. @default false */
	readonly ignoreMissing?: boolean | undefined;
	/** As of a conversion's thread. */
	readonly memoryBytes: number;
	readonly signal?: AbortSignal | undefined;
	readonly onEvent?: EventListener | undefined;
}

/** What became of one tensor. */
export interface ComparedTensorFacts {
	readonly fqn: string;
	/** `missing` in the checkpoint that is looked at, `extra` in the other one; with another dtype or shape no element is compared. */
	readonly outcome: "equal" | "different" | "dtype" | "shape" | "missing" | "extra";
	/** How it differs, where it does. */
	readonly difference?: TensorDifference | undefined;
}

/** How two checkpoints compare. Bytes, but for the counts. */
export interface CheckpointComparison {
	readonly directory: string;
	readonly other: string;
	/** In the order of the first checkpoint, then what only the other one has. */
	readonly tensors: readonly ComparedTensorFacts[];
	readonly equalTensors: number;
	readonly differentElements: number;
	/** Data of the checkpoint that was compared, and data of the other one that was read for it. */
	readonly comparedBytes: number;
	readonly fetchedBytes: number;
	/** Most staging memory in use at any one time. */
	readonly peakStagingBytes: number;
	readonly seconds: number;
	/** All that is wrong, the differences included; at most so many of them are kept. */
	readonly problems: readonly Problem[];
	readonly problemCount: number;
	/** What the user should know, one sentence each: pickled objects that are not the same. */
	readonly notes: readonly string[];
}

/**
 * Compares two checkpoints tensor by tensor, bit for bit, whatever their layouts are, in bounded memory. Pickled objects are compared as
 * bytes, which can differ where their values do not: that is a note, no problem.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE`; `CHECKPOINT_CORRUPT` when one of them is damaged; `DTYPE_UNSUPPORTED`.
 * @throws `signal.reason` when aborted.
 */
export async function compareCheckpoints(
	options: CheckpointComparisonOptions,
): Promise<CheckpointComparison> {
	const { directory, other, signal } = options;
	const limits = limitsFor(options.memoryBytes);
	const started = performance.now();
	const onEvent = emitTo(options.onEvent);
	onEvent({ kind: "phase", phase: "headers" });
	const isWanted = options.tensors === undefined ? () => true : globMatcher(options.tensors);
	await using ours = await openCheckpoint({ directory, isWanted, signal });
	await using theirs = await openCheckpoint({ directory: other, isWanted, signal });
	onEvent({ kind: "phase", phase: "plan" });
	const pairs = pairTensors(ours, theirs, isWanted);
	const tensors = pairs.flatMap(({ outcome, tensor, expr }) =>
		outcome === "equal" && expr !== undefined ? comparedTensors(ours, tensor, expr) : [],
	);
	const { source } = theirs;
	const comparison = createComparison({ source, tied: [], tensors, limits });
	const { fetchBytes } = comparison.plan.totals;
	const entries = comparison.plan.entries.length;
	onEvent({ kind: "planned", fetchBytes, writeBytes: 0, entries });
	onEvent({ kind: "phase", phase: "stream" });
	const result = await runComparison({
		comparison,
		beginOf: ({ begin }) => begin,
		bytes: theirs.bytes,
		stored: ours.bytes,
		signal,
		onEvent,
	});
	const facts = factsOf(pairs, result.differences);
	const problems = problemsOf(pairs, facts, options);
	return {
		directory,
		other,
		tensors: facts,
		equalTensors: facts.filter(({ outcome }) => outcome === "equal").length,
		differentElements: result.differentElements,
		comparedBytes: result.comparedBytes,
		fetchedBytes: result.fetchedBytes,
		peakStagingBytes: result.peakStagingBytes,
		seconds: (performance.now() - started) / 1000,
		problems: problems.kept,
		problemCount: problems.count,
		notes: await compareObjects(ours, theirs, isWanted, signal),
	};
}

/** A tensor of either checkpoint. */
interface Pair {
	readonly outcome: Exclude<ComparedTensorFacts["outcome"], "different">;
	/** Of the checkpoint that is looked at, or else of the other one. */
	readonly tensor: CheckpointTensor;
	/** Of the other one. */
	readonly expr: Expr | undefined;
}

function pairTensors(
	ours: OpenedCheckpoint,
	theirs: OpenedCheckpoint,
	isWanted: (fqn: string) => boolean,
): readonly Pair[] {
	const rest = new Map(theirs.exprs);
	const pairs = ours.checkpoint.tensors
		.filter(({ fqn }) => isWanted(fqn))
		.map((tensor): Pair => {
			const expr = rest.get(tensor.fqn);
			rest.delete(tensor.fqn);
			if (expr === undefined) return { outcome: "extra", tensor, expr };
			if (!shapesEqual(expr.shape, tensor.shape)) return { outcome: "shape", tensor, expr };
			if (expr.dtype !== tensor.dtype) return { outcome: "dtype", tensor, expr };
			return { outcome: "equal", tensor, expr };
		});
	const missing = theirs.checkpoint.tensors.filter(({ fqn }) => rest.has(fqn));
	return [
		...pairs,
		...missing.map((tensor): Pair => ({ outcome: "missing", tensor, expr: undefined })),
	];
}

interface BegunBlock extends StoredBlock {
	readonly begin: number;
}

/** A tensor once for every order in which its blocks lie in memory: one, but for what was saved transposed. */
function comparedTensors(
	{ chunks }: OpenedCheckpoint,
	{ fqn, shape, entries }: CheckpointTensor,
	expr: Expr,
): readonly ComparedTensor<BegunBlock>[] {
	if (numel(shape) === 0) return [];
	const orders = new Map<
		string,
		{ readonly order: readonly number[]; readonly entries: Entry[] }
	>();
	for (const entry of entries) {
		const order = chunks.get(entry)?.order;
		if (order === undefined) continue;
		const known = orders.get(order.join());
		if (known === undefined) orders.set(order.join(), { order, entries: [entry] });
		else known.entries.push(entry);
	}
	return [...orders.values()].map(({ order, entries: own }) => {
		const isInOrder = order.every((axis, d) => axis === d);
		return {
			expr: isInOrder ? expr : permute(expr, order),
			blocks: own.map((entry): BegunBlock => {
				const chunk = chunks.get(entry);
				invariant(chunk !== undefined, `${fqn} was not located`);
				const { tensor } = chunk;
				const box = permuted(entry.box, order);
				return { fqn, dtype: entry.dtype, box, order, file: entry.file, begin: tensor.begin };
			}),
		};
	});
}

function permuted({ offset, size }: Box, order: readonly number[]): Box {
	return {
		offset: order.map((axis) => at(offset, axis)),
		size: order.map((axis) => at(size, axis)),
	};
}

function factsOf(
	pairs: readonly Pair[],
	differences: readonly TensorDifference[],
): readonly ComparedTensorFacts[] {
	const found = new Map(differences.map((difference) => [difference.fqn, difference]));
	return pairs.map(({ outcome, tensor: { fqn } }) => {
		const difference = found.get(fqn);
		return difference === undefined ? { fqn, outcome } : { fqn, outcome: "different", difference };
	});
}

function problemsOf(
	pairs: readonly Pair[],
	facts: readonly ComparedTensorFacts[],
	{ directory, other, ignoreMissing = false }: CheckpointComparisonOptions,
): Problems {
	const problems = new Problems();
	pairs.forEach(({ tensor, expr }, index) => {
		const { outcome, difference } = at(facts, index);
		const isLone = outcome === "missing" || outcome === "extra";
		if (outcome === "equal" || (isLone && ignoreMissing)) return;
		const { fqn, dtype, shape } = tensor;
		const name = quote(fqn);
		const add = (message: string, where: Partial<Problem> = {}): void =>
			problems.add({ kind: "difference", message, fqn, ...where });
		if (difference !== undefined) add(describeDifference(difference), problemRange(difference));
		else if (outcome === "missing") add(`${directory} lacks ${name}, which ${other} has`);
		else if (outcome === "extra") add(`${other} lacks ${name}, which ${directory} has`);
		else if (expr !== undefined) {
			const theirs = outcome === "dtype" ? expr.dtype : formatShape(expr.shape);
			add(`${name} is ${outcome === "dtype" ? dtype : formatShape(shape)} instead of ${theirs}`);
		}
	});
	return problems;
}
