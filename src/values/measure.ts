import { type Box, boxNumel } from "../core/box.ts";
import { at } from "../core/shape.ts";
import { edgesOf } from "./edges.ts";
import type { ReadCounters } from "./joined-reads.ts";
import { type ElementReceiver, readElements, type ReadElementsOptions } from "./read-elements.ts";
import { chooseElements, createElementPicker, type ShownElements } from "./shown-elements.ts";
import { createMeter } from "./create-meter.ts";
import type { TensorStatistics } from "./statistics.ts";
import type { Dtype } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";

/** A tensor, looked at. */
export interface MeasuredTensor {
	/** `undefined` when only the elements that are shown were read. */
	readonly statistics: TensorStatistics | undefined;
	readonly shown: ShownElements;
	readonly read: ReadCounters;
}

/** How to look at a tensor. */
export interface MeasureOptions extends Omit<ReadElementsOptions, "receiver"> {
	/** Whether to read all of it. @default true */
	readonly statistics?: boolean | undefined;
}

/**
 * Reads a tensor once, and says what its elements are like and which are at its edges.
 *
 * @throws {HfStreamDcpError} as {@link readElements}.
 */
export async function measure(options: MeasureOptions): Promise<MeasuredTensor> {
	if (options.statistics === false) return await look(options);
	const { expr } = options.tensor;
	let observer: Observer | undefined;
	const read = await readElements({
		...options,
		receiver: (blocks) => (observer = observe(expr.dtype, expr.shape, blocks)),
	});
	if (observer === undefined) throw new Error("internal error: no receiver was made");
	return { ...observer.result(), read };
}

async function look(options: MeasureOptions): Promise<MeasuredTensor> {
	const { tensor } = options;
	const edges = { ...tensor, expr: edgesOf(tensor.expr) };
	const { shown, read } = await measure({ ...options, tensor: edges, statistics: true });
	return {
		statistics: undefined,
		shown: { ...chooseElements(tensor.expr.shape), values: shown.values },
		read,
	};
}

/** Sees all elements of a tensor once. */
export interface Observer extends ElementReceiver {
	take(block: number, first: number, bytes: Uint8Array): void;
	result(): Pick<MeasuredTensor, "statistics" | "shown">;
}

/**
 * Makes an observer of a tensor that comes in `blocks`.
 *
 * @param blocks - Together all of it, each element once.
 */
export function observe(dtype: Dtype, shape: Shape, blocks: readonly Box[]): Observer {
	const meter = createMeter(dtype);
	const picker = createElementPicker(dtype, shape, blocks);
	const starts = startsOf(blocks);
	return {
		take(block, first, bytes) {
			meter.add(at(starts, block) + first, bytes);
			picker.take(block, first, bytes);
		},
		result: () => ({ statistics: meter.result(), shown: picker.result() }),
	};
}

/** How many elements come before each block. */
function startsOf(blocks: readonly Box[]): readonly number[] {
	let start = 0;
	return blocks.map((block) => {
		const own = start;
		start += boxNumel(block);
		return own;
	});
}
