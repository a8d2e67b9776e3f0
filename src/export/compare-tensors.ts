import type { Expr } from "../core/expr.ts";
import { invariant } from "../core/errors.ts";
import type { ByteSource, EntrySink, ReshardBackend } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import type { PlanLimits } from "../plan/types.ts";
import { runPlan } from "../stream/run-plan.ts";
import { entriesOf, type MadeTensor, planTensors, rowsOfBytes } from "./whole-tensors.ts";

/** Two expressions of one shape and dtype. */
export interface ExprPair {
	readonly name: string;
	readonly left: Expr;
	readonly right: Expr;
}

/** What is read and with what. */
export interface CompareTools {
	readonly source: Source;
	readonly bytes: ByteSource;
	readonly backend: ReshardBackend;
	readonly limits: PlanLimits;
	readonly signal?: AbortSignal | undefined;
}

/** Rows that are compared at once have about so many bytes: few enough to fit into any memory budget. */
const COMPARED_BYTES = 2 ** 20;

/**
 * Names of the pairs whose two sides have other bits. Compared by the CRC-32 of every mebibyte, which two sides that differ in a single
 * element never share.
 *
 * @throws {HfStreamDcpError} as reading the source.
 */
export async function differingPairs(
	pairs: readonly ExprPair[],
	{ source, bytes, backend, limits, signal }: CompareTools,
): Promise<readonly string[]> {
	if (pairs.length === 0) return [];
	const tensors = pairs.flatMap(({ left, right }, place): MadeTensor[] => [
		{ name: `${place}.left`, expr: left, place: 0 },
		{ name: `${place}.right`, expr: right, place: 0 },
	]);
	const plan = planTensors(source, tensors, limits, rowsOfBytes(COMPARED_BYTES));
	const crcs = new Map<number, number>();
	await runPlan({ plan, source: bytes, backend, sink: crcSink(crcs), signal });
	const entries = entriesOf(plan);
	const crcsOf = (name: string): readonly (number | undefined)[] => {
		const own = entries.get(name);
		invariant(own !== undefined, `${name} is in no plan`);
		return own.map((entry) => crcs.get(entry));
	};
	return pairs
		.filter((_, place) => {
			const [left, right] = [crcsOf(`${place}.left`), crcsOf(`${place}.right`)];
			invariant(left.length === right.length, "both sides are cut alike");
			return left.some((crc, index) => crc !== at(right, index));
		})
		.map(({ name }) => name);
}

function crcSink(crcs: Map<number, number>): EntrySink {
	return {
		writes: { mode: "buffered", directBytes: 0, bufferedBytes: 0, calls: 0, refusals: 0 },
		isFinished: () => false,
		write: () => Promise.resolve(),
		finish: (index, crc32) => {
			crcs.set(index, crc32);
			return Promise.resolve();
		},
		flush: () => Promise.resolve(),
		[Symbol.asyncDispose]: () => Promise.resolve(),
	};
}
