import { itemBytes } from "../../core/dtype.ts";
import type { ByteSource, EntrySink } from "../../core/ports.ts";
import { at } from "../../core/shape.ts";
import type { Plan } from "../../plan/types.ts";
import { createPool } from "../../stream/pool.ts";
import type { DifferenceTally } from "./difference-tally.ts";
import { type PlacedBlock, storedRuns } from "./stored-block.ts";

/** Most of a checkpoint that is read at once: whole elements of any dtype. */
const BUFFER_BYTES = 1024 * 1024;

/** As many as a run has writes under way. */
const BUFFERS = 4;

/** Memory that a sink takes, bytes. */
export const COMPARE_BYTES: number = BUFFERS * BUFFER_BYTES;

/** What a plan makes is compared with. */
export interface CompareSinkOptions {
	readonly plan: Plan;
	/** Where the checkpoint has what an entry of the plan is, or is a part of; `undefined` for entries that are left alone. */
	readonly blockOf: (index: number) => PlacedBlock | undefined;
	/** Reads the files of the checkpoint. */
	readonly stored: ByteSource;
	readonly tally: DifferenceTally;
	readonly signal?: AbortSignal | undefined;
}

/** A sink that keeps nothing. */
export interface CompareSink extends EntrySink {
	/** Bytes that were compared. */
	readonly comparedBytes: number;
}

/**
 * A sink that writes nothing: whatever it is given is compared, bit for bit, with what a checkpoint has at the same place. Differences
 * are counted and end nothing.
 */
export function createCompareSink(options: CompareSinkOptions): CompareSink {
	const { plan, blockOf, stored, tally, signal } = options;
	const buffers = createPool(Array.from({ length: BUFFERS }, () => Buffer.alloc(BUFFER_BYTES)));
	let comparedBytes = 0;

	const compareRun = async (
		block: PlacedBlock,
		element: number,
		expected: Uint8Array,
	): Promise<void> => {
		const width = itemBytes(block.dtype);
		const buffer = await buffers.acquire();
		try {
			for (let done = 0; done < expected.length; done += buffer.length) {
				const own = expected.subarray(done, done + buffer.length);
				const found = buffer.subarray(0, own.length);
				const start = block.begin + element * width + done;
				const range = { file: block.file, start, end: start + own.length };
				await stored.readInto(range, found, { signal });
				if (!found.equals(own)) tally.add(block, element + done / width, found, own);
				comparedBytes += own.length;
			}
		} finally {
			buffers.release(buffer);
		}
	};

	return {
		writes: { mode: "buffered", directBytes: 0, bufferedBytes: 0, calls: 0, refusals: 0 },
		get comparedBytes() {
			return comparedBytes;
		},
		isFinished: (index) => blockOf(index) === undefined,
		async write(index, offset, bytes) {
			const block = blockOf(index);
			if (block === undefined) return;
			const width = itemBytes(block.dtype);
			const [start, end] = [offset / width, (offset + bytes.length) / width];
			let done = 0;
			for (const run of storedRuns(block.box, at(plan.entries, index).box, start, end)) {
				const length = run.length * width;
				await compareRun(block, run.element, bytes.subarray(done, done + length));
				done += length;
			}
		},
		async finish() {},
		async flush() {},
		async [Symbol.asyncDispose]() {},
	};
}
