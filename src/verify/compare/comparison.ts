import { type Box, boxKey, boxNumel } from "../../core/box.ts";
import { invariant } from "../../core/errors.ts";
import type { EventListener } from "../../core/events.ts";
import type { Expr } from "../../core/expr.ts";
import type { ByteSource } from "../../core/ports.ts";
import type { SourceNote } from "../../core/recipe.ts";
import { at } from "../../core/shape.ts";
import type { Source } from "../../core/source.ts";
import { planExprs } from "../../plan/plan-exprs.ts";
import type { Plan, PlanLimits } from "../../plan/types.ts";
import { createCpuBackend } from "../../stream/cpu/backend.ts";
import { runPlan } from "../../stream/run-plan.ts";
import { createCompareSink } from "./compare-sink.ts";
import { createDifferenceTally, type TensorDifference } from "./difference-tally.ts";
import type { PlacedBlock, StoredBlock } from "./stored-block.ts";

/** A tensor that is made once more, and blocks of it that a checkpoint has. */
export interface ComparedTensor<B extends StoredBlock = StoredBlock> {
	/** Of the whole tensor, its axes in the order of the blocks, in the dtype that is stored. */
	readonly expr: Expr;
	/** All of one order. Together they are the tensor, or what of it is to be looked at. */
	readonly blocks: readonly B[];
}

/** What is to be compared: a plan that makes the elements, and where a checkpoint has them. */
export interface Comparison<B extends StoredBlock = StoredBlock> {
	readonly plan: Plan;
	/** For every entry of the plan the block of the checkpoint that it is, or is a part of. */
	readonly blocks: readonly B[];
}

/** What a {@link Comparison} is made of. */
export interface ComparisonInputs<B extends StoredBlock = StoredBlock> {
	/** What `tensors` are made of. */
	readonly source: Source;
	readonly tied: readonly SourceNote[];
	readonly tensors: readonly ComparedTensor<B>[];
	/** As of a conversion's thread. */
	readonly limits: PlanLimits;
}

/**
 * Plans how the elements of stored blocks are made once more. No byte is read.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID`; `BUDGET_EXCEEDED` when the memory is too small for a tensor.
 */
export function createComparison<B extends StoredBlock>(
	inputs: ComparisonInputs<B>,
): Comparison<B> {
	const { source, tied, limits } = inputs;
	const tensors = inputs.tensors
		.map(({ expr, blocks }) => ({ expr, blocks: blocks.filter(({ box }) => boxNumel(box) > 0) }))
		.filter(({ blocks }) => blocks.length > 0);
	const plan = planExprs({
		source,
		tied,
		tensors: tensors.map(({ expr }, index) => ({ fqn: `${index}`, expr })),
		shardsOf: (key) => at(tensors, Number(key)).blocks.map(({ box }) => ({ box, ranks: [0] })),
		limits,
	});
	const known = tensors.map(({ blocks }) => new Map(blocks.map((one) => [boxKey(one.box), one])));
	const blocks = plan.entries.map(({ tensor, box }) => {
		const found =
			at(known, tensor).get(boxKey(box)) ??
			// A block that was cut to fit into memory.
			at(tensors, tensor).blocks.find((block) => isWithin(box, block.box));
		invariant(found !== undefined, "an entry that is part of no stored block");
		return found;
	});
	return { plan, blocks };
}

function isWithin(part: Box, whole: Box): boolean {
	return part.offset.every((start, axis) => {
		const first = at(whole.offset, axis);
		const end = first + at(whole.size, axis);
		return start >= first && start + at(part.size, axis) <= end;
	});
}

/** What {@link runComparison} works with. The caller disposes of the byte sources. */
export interface RunComparisonOptions<B extends StoredBlock = StoredBlock> {
	readonly comparison: Comparison<B>;
	/** Tiles that are left out, by their index. @default none */
	readonly isLeftOut?: ((tile: number) => boolean) | undefined;
	/** Byte of its file at which the elements of a block begin; `undefined` for blocks that are not looked at. */
	readonly beginOf: (block: B) => number | undefined;
	/** Reads the files of the source. */
	readonly bytes: ByteSource;
	/** Reads the files of the checkpoint. */
	readonly stored: ByteSource;
	readonly signal?: AbortSignal | undefined;
	/** Hears `written`, of the bytes that were compared, and `entry`. */
	readonly onEvent: EventListener;
}

/** What was compared, and how it differs. Bytes, but for the counts. */
export interface ComparisonSummary {
	/** Bytes of the checkpoint. */
	readonly comparedBytes: number;
	/** Received from the source. */
	readonly fetchedBytes: number;
	readonly requests: number;
	/** Most staging memory in use at any one time. */
	readonly peakStagingBytes: number;
	readonly differences: readonly TensorDifference[];
	/** Elements that differ, of all tensors. */
	readonly differentElements: number;
}

/**
 * Makes the elements of stored blocks once more and compares them with the checkpoint, bit for bit, in bounded memory.
 *
 * @throws {HfStreamDcpError} the first failure of a byte source. @throws `signal.reason` when aborted.
 */
export async function runComparison<B extends StoredBlock>(
	options: RunComparisonOptions<B>,
): Promise<ComparisonSummary> {
	const { comparison, bytes, stored, signal, onEvent, isLeftOut = () => false } = options;
	const { plan } = comparison;
	const placed = placedBlocks(options);
	const tiles = plan.tiles.filter((_, index) => !isLeftOut(index));
	const tally = createDifferenceTally();
	await using backend = createCpuBackend();
	await using sink = createCompareSink({
		plan,
		blockOf: (index) => placed[index],
		stored,
		tally,
		signal,
	});
	const isPartial = tiles.length < plan.tiles.length;
	const summary = await runPlan({
		plan: { ...plan, tiles },
		source: bytes,
		backend,
		sink,
		signal,
		onEvent,
		isPartial,
	});
	const { fetchedBytes, requests, peakStagingBytes } = summary;
	const { differences } = tally;
	return {
		comparedBytes: sink.comparedBytes,
		fetchedBytes,
		requests,
		peakStagingBytes,
		differences,
		differentElements: differences.reduce((sum, { elements }) => sum + elements, 0),
	};
}

/** For every entry of the plan the block that is looked at. Entries of one block have the same one. */
function placedBlocks<B extends StoredBlock>({
	comparison,
	beginOf,
}: RunComparisonOptions<B>): readonly (PlacedBlock | undefined)[] {
	const placed = new Map<StoredBlock, PlacedBlock>();
	return comparison.blocks.map((block) => {
		const known = placed.get(block);
		if (known !== undefined) return known;
		const begin = beginOf(block);
		if (begin === undefined) return undefined;
		const own = { ...block, begin };
		placed.set(block, own);
		return own;
	});
}
