import { type Box, wholeBox } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import { emitTo, type EventListener } from "../core/events.ts";
import { type Expr, sourcesOf } from "../core/expr.ts";
import type { ByteSource, EntrySink, WriteCounters } from "../core/ports.ts";
import type { Source } from "../core/source.ts";
import { limitsFor } from "../plan/limits.ts";
import { planExprs } from "../plan/plan-exprs.ts";
import { createCpuBackend } from "../stream/cpu/backend.ts";
import { runPlan } from "../stream/run-plan.ts";
import { joinReads, type ReadCounters } from "./joined-reads.ts";

/** A tensor that can be read: how it is made, of what. */
export interface ReadableTensor {
	/** Its dtype is that of the elements that are read. */
	readonly expr: Expr;
	readonly source: Source;
	/** Reads the files of `source`. */
	readonly bytes: ByteSource;
}

/** Where the elements of a tensor go. */
export interface ElementReceiver {
	/**
	 * Takes elements `first` and those that follow of block `block`, row-major. The bytes are the receiver's until the promise settles.
	 */
	take(block: number, first: number, bytes: Uint8Array): void | Promise<void>;
}

/** How to read a tensor. */
export interface ReadElementsOptions {
	readonly tensor: ReadableTensor;
	/** Makes the receiver, when it is known which blocks the tensor comes in: all of it, each element once. Mostly there is one. */
	readonly receiver: (blocks: readonly Box[]) => ElementReceiver;
	/** Memory for what is in flight. Bytes. */
	readonly memoryBytes: number;
	/** Whether to gather with WebAssembly. @default true */
	readonly simd?: boolean | undefined;
	readonly signal?: AbortSignal | undefined;
	/** Hears what is planned, and what was received of the tensor: `source` need not tell. */
	readonly onEvent?: EventListener | undefined;
}

/**
 * Reads a tensor in windows, whatever its size: what `memoryBytes` allows is in flight. Only bytes that it is made of are read, but for
 * small gaps between them.
 *
 * @returns What was read.
 * @throws {HfStreamDcpError} what the source fails with; `BUDGET_EXCEEDED` when the memory does not suffice for any window.
 * @throws `signal.reason`
 */
export async function readElements(options: ReadElementsOptions): Promise<ReadCounters> {
	const { tensor, receiver, memoryBytes, simd, signal, onEvent } = options;
	const { expr, source, bytes } = tensor;
	const used = new Set(sourcesOf(expr).map(({ name }) => name));
	const plan = planExprs({
		source: { ...source, tensors: source.tensors.filter(({ name }) => used.has(name)) },
		tensors: [{ fqn: "", expr }],
		shardsOf: (_, shape) => [{ box: wholeBox(shape), ranks: [0] }],
		limits: limitsFor(memoryBytes),
	});
	const counters: ReadCounters = { neededBytes: 0, readBytes: 0, requests: 0 };
	const width = itemBytes(expr.dtype);
	const target = receiver(plan.entries.map(({ box }) => box));
	const emit = emitTo(onEvent);
	emit({ kind: "phase", phase: "stream" });
	const { fetchBytes, writeBytes, entries } = plan.totals;
	emit({ kind: "planned", fetchBytes, writeBytes, entries });
	await using backend = createCpuBackend({ simd });
	await using sink = receivingSink((index, offset, part) =>
		target.take(index, offset / width, part),
	);
	const joined = joinReads(bytes, counters, () => {
		emit({ kind: "received", bytes: counters.neededBytes });
	});
	await runPlan({ plan, source: joined, backend, sink, signal, onEvent: emit });
	return counters;
}

/** A sink that stores nothing. */
function receivingSink(
	take: (index: number, offset: number, bytes: Uint8Array) => void | Promise<void>,
): EntrySink {
	const writes: WriteCounters = {
		mode: "buffered",
		directBytes: 0,
		bufferedBytes: 0,
		calls: 0,
		refusals: 0,
	};
	return {
		writes,
		isFinished: () => false,
		async write(index, offset, bytes) {
			await take(index, offset, bytes);
		},
		async finish() {},
		async flush() {},
		async [Symbol.asyncDispose]() {},
	};
}
