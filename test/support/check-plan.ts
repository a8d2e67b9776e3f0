import { expect } from "vitest";
import { boxNumel } from "../../src/core/box.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type { Piece } from "../../src/core/ports.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../../src/core/quantisation.ts";
import { contiguousStrides, numel } from "../../src/core/shape.ts";
import { partsOf } from "../../src/plan/parts.ts";
import { pull } from "../../src/plan/pull.ts";
import type { Plan, PlanPart } from "../../src/plan/types.ts";

/** Checks by brute force, byte by byte, what a plan promises. */
export function checkPlan(plan: Plan): void {
	const fetched = plan.source.files.map((file) => new Uint8Array(file.bytes));
	const data = plan.entries.map(
		(entry) => new Uint8Array(boxNumel(entry.box) * itemBytes(entry.dtype)),
	);
	const begins = new Map(plan.source.tensors.map((tensor) => [tensor.name, tensor]));
	for (const tile of plan.tiles) {
		let bytes = 0;
		let last = { file: -1, end: 0 };
		for (const range of tile.ranges) {
			expect(range.file > last.file || range.start > last.end).toBe(true);
			last = range;
			bytes += range.end - range.start;
			const file = fetched[range.file]!;
			for (let i = range.start; i < range.end; i++) file[i]!++;
		}
		expect(tile.stagingBytes).toBe(bytes);
		expect(bytes).toBeLessThanOrEqual(plan.limits.maxTileBytes);
		for (const part of partsOf(plan, tile)) {
			const entry = plan.entries[part.entry]!;
			const tensor = plan.tensors[entry.tensor]!;
			markPart(entry, part, data[part.entry]!);
			for (const { name, first, end } of pull(tensor.expr, part.box).flatMap(readsOf)) {
				const from = begins.get(name)!;
				// The ends of a piece are staged; what lies between is checked by the sums below.
				const isStaged = (at: number): boolean =>
					tile.ranges.some(
						(range) =>
							plan.source.files[range.file]!.path === from.file &&
							range.start <= from.begin + at &&
							from.begin + at < range.end,
					);
				if (!isStaged(first) || !isStaged(end - 1)) {
					throw new Error(`${name} ${first}:${end} is not staged`);
				}
			}
		}
	}
	for (const bytes of data) expect(bytes.every((count) => count === 1)).toBe(true);
	const dropped = new Set(plan.dropped.map((note) => note.name));
	for (const tensor of plan.source.tensors) {
		const index = plan.source.files.findIndex((file) => file.path === tensor.file);
		const bytes = fetched[index]!.subarray(tensor.begin, tensor.end);
		expect(bytes.every((count) => count === (dropped.has(tensor.name) ? 0 : 1))).toBe(true);
	}
	checkFiles(plan);
}

/** Bytes from the start of a source tensor. */
interface Read {
	readonly name: string;
	readonly first: number;
	readonly end: number;
}

/** The first and last byte that a piece reads of each source tensor. */
function readsOf(piece: Piece): Read[] {
	if (piece.kind === "fill") return [];
	const span = piece.dims.reduce((sum, dim) => sum + dim.sourceStride * (dim.size - 1), 0);
	const bits =
		piece.kind === "gather" ? 8 * itemBytes(piece.sourceDtype) : ELEMENT_BITS[piece.codec];
	const first = Math.floor((piece.sourceOffset * bits) / 8);
	const end = Math.ceil(((piece.sourceOffset + span + 1) * bits) / 8);
	const elements = { name: piece.source, first, end };
	if (piece.kind === "gather") return [elements];
	const width = SCALE_BYTES[piece.scaleCodec];
	const scaleSpan = piece.dims.reduce((sum, dim) => sum + dim.scaleStride * (dim.size - 1), 0);
	return [
		elements,
		{
			name: piece.scales,
			first: piece.scaleOffset * width,
			end: (piece.scaleOffset + scaleSpan + 1) * width,
		},
	];
}

/** Marks the bytes of a part, which must be one contiguous stretch of the entry's data. */
function markPart(entry: Plan["entries"][number], part: PlanPart, data: Uint8Array): void {
	const width = itemBytes(entry.dtype);
	const strides = contiguousStrides(entry.box.size);
	const place = (index: readonly number[]): number =>
		index.reduce((sum, i, d) => sum + (i - entry.box.offset[d]!) * strides[d]!, 0);
	const first = place(part.box.offset);
	const last = place(part.box.offset.map((offset, d) => offset + part.box.size[d]! - 1));
	expect(last - first + 1).toBe(numel(part.box.size));
	for (let i = first * width; i < (last + 1) * width; i++) data[i]!++;
}

function checkFiles(plan: Plan): void {
	for (const file of plan.files) {
		const entries = plan.entries
			.filter((entry) => entry.file === file.name)
			.toSorted((a, b) => a.offset - b.offset);
		let end = 0;
		for (const entry of entries) {
			expect(entry.offset).toBeGreaterThanOrEqual(end);
			end = entry.offset + entry.length;
		}
		expect(file.bytes).toBe(end);
	}
	for (const [index, tensor] of plan.tensors.entries()) {
		const entries = plan.entries.slice(tensor.firstEntry, tensor.endEntry);
		expect(entries.every((entry) => entry.tensor === index && entry.fqn === tensor.fqn)).toBe(true);
		expect(entries.reduce((sum, entry) => sum + boxNumel(entry.box), 0)).toBe(numel(tensor.shape));
	}
}
