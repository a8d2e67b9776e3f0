import { boxNumel, type Box } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import type { Piece } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { countOf, elementBits } from "./hulls.ts";
import { pull } from "./pull.ts";
import type { Plan, PlanTensor } from "./types.ts";

/**
 * Work that costs the processor much more than a copy: dequantising by the width of an element, of the narrow ones also while they are
 * transposed, casts, and moves in short runs.
 */
export type HeavyKind = "fp8" | "fp4" | "fp4Transposed" | "cast" | "transpose";

/** Source bytes that each kind of heavy work reads. */
export type HeavyBytes = { readonly [K in HeavyKind]: number };

/** Runs at least this long are copied about as fast as memory is. */
const MIN_LIGHT_RUN_BYTES = 64;

/** Elements of each axis that are looked at: what is done to a tensor is done to all of it, and short runs show in this many. */
const SAMPLE_ELEMENTS = 256;

/** How much heavy work there is in a plan, by the first block of every tensor. Bytes of scales are not counted. */
export function heavyBytesOf(plan: Pick<Plan, "tensors" | "entries">): HeavyBytes {
	const heavy = { fp8: 0, fp4: 0, fp4Transposed: 0, cast: 0, transpose: 0 };
	for (const tensor of plan.tensors) {
		const sample = sampleOf(plan, tensor);
		if (sample === undefined) continue;
		const scale = elementsOf(plan, tensor) / boxNumel(sample);
		for (const piece of pull(tensor.expr, sample)) {
			const kind = heavyKindOf(piece);
			if (kind === undefined || piece.kind === "fill") continue;
			heavy[kind] += (scale * countOf(piece.dims) * elementBits(piece)) / 8;
		}
	}
	for (const kind of Object.keys(heavy) as HeavyKind[]) heavy[kind] = Math.round(heavy[kind]);
	return heavy;
}

/** What a piece is for the processor; `undefined` when it is a copy of runs. */
export function heavyKindOf(piece: Piece): HeavyKind | undefined {
	if (piece.kind === "fill") return undefined;
	const inner = piece.dims.at(-1);
	if (piece.kind === "dequant") {
		if (piece.codec !== "float4_e2m1") return "fp8";
		return (inner?.sourceStride ?? 1) === 1 ? "fp4" : "fp4Transposed";
	}
	if (piece.sourceDtype !== piece.targetDtype) return "cast";
	if (inner === undefined || piece.dims.length < 2) return undefined;
	const isRun = inner.sourceStride === 1 && inner.targetStride === 1;
	const runBytes = (isRun ? inner.size : 1) * itemBytes(piece.targetDtype);
	return runBytes < MIN_LIGHT_RUN_BYTES ? "transpose" : undefined;
}

/** The beginning of the first block of a tensor that has elements. */
function sampleOf({ entries }: Pick<Plan, "entries">, tensor: PlanTensor): Box | undefined {
	for (let index = tensor.firstEntry; index < tensor.endEntry; index++) {
		const { box } = at(entries, index);
		if (boxNumel(box) === 0) continue;
		return { ...box, size: box.size.map((size) => Math.min(size, SAMPLE_ELEMENTS)) };
	}
	return undefined;
}

function elementsOf({ entries }: Pick<Plan, "entries">, tensor: PlanTensor): number {
	let elements = 0;
	for (let index = tensor.firstEntry; index < tensor.endEntry; index++) {
		elements += boxNumel(at(entries, index).box);
	}
	return elements;
}
