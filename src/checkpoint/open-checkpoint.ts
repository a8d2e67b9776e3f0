import { boxNumel } from "../core/box.ts";
import type { CheckpointTensor } from "../core/checkpoint.ts";
import { itemBytes } from "../core/dtype.ts";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import { type Expr, fill, permute, source as sourceExpr } from "../core/expr.ts";
import type { ByteSource, Entry } from "../core/ports.ts";
import { at, contiguousStrides, numel, shapesEqual } from "../core/shape.ts";
import type { Source, SourceTensor } from "../core/source.ts";
import { type ReadCheckpoint, readCheckpoint } from "../dcp/checkpoint-reader.ts";
import { locateEntries } from "../dcp/locate-entries.ts";
import type { LocatedTensor } from "../dcp/tensor-reader.ts";
import { createDirectorySource } from "../fetch/directory-source.ts";
import { assemble, type Block } from "./assemble.ts";

/**
 * A checkpoint as a source of tensors, in any layout: what was written as chunks is read as wholes, block by block, by the same plans that
 * read safetensors files. Dispose of it to close its files.
 */
export interface OpenedCheckpoint extends AsyncDisposable {
	readonly checkpoint: ReadCheckpoint;
	/** Its entries as source tensors, each under a name of its own, where their data lies. */
	readonly source: Source;
	/** Reads the files of `source`. */
	readonly bytes: ByteSource;
	/** Every tensor that was asked for, made of entries of `source`: of its global shape, in its stored dtype. */
	readonly exprs: ReadonlyMap<string, Expr>;
	/** How the data of every entry lies that has elements and belongs to such a tensor. */
	readonly chunks: ReadonlyMap<Entry, StoredChunk>;
}

/** The data of one entry, as it is stored. */
export interface StoredChunk {
	/** In `source`. */
	readonly tensor: SourceTensor;
	/** Axes of the entry's box, outermost in memory first: ascending, but for what was saved without being contiguous. */
	readonly order: readonly number[];
}

/** What of a checkpoint is opened. */
export interface OpenCheckpointOptions {
	/** Absolute path. */
	readonly directory: string;
	/** Which tensors. @default all */
	readonly isWanted?: ((fqn: string) => boolean) | undefined;
	readonly signal?: AbortSignal | undefined;
}

/**
 * Opens any DCP directory, ours or torch's, and finds out where the data of its entries lies. No tensor data is read.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE`; `CHECKPOINT_CORRUPT` when the metadata, a container or the chunks of a tensor that is
 * wanted are damaged; `DTYPE_UNSUPPORTED`.
 */
export async function openCheckpoint(options: OpenCheckpointOptions): Promise<OpenedCheckpoint> {
	const { directory, isWanted = () => true, signal } = options;
	const checkpoint = await readCheckpoint(directory);
	const tensors = checkpoint.tensors.filter(({ fqn }) => isWanted(fqn));
	const entries = tensors.flatMap((tensor) => tensor.entries);
	const full = entries.filter(({ box }) => boxNumel(box) > 0);
	const places = await locateEntries(directory, full, { signal });
	const files = checkpoint.files.map(({ name, bytes }) => ({ path: name, bytes }));
	const bytes = createDirectorySource(directory, new Map(files.map((file) => [file.path, file])));
	const chunks = new Map([...places].map(([entry, place]) => [entry, chunkOf(entry, place)]));
	const sourceTensors = [...chunks.values()]
		.map(({ tensor }) => tensor)
		.toSorted((a, b) => (a.file === b.file ? a.begin - b.begin : a.file < b.file ? -1 : 1));
	return {
		checkpoint,
		source: {
			repo: directory,
			commit: "local",
			files: files.map((file) => ({ ...file, headerBytes: 0 })),
			tensors: sourceTensors,
			config: undefined,
		},
		bytes,
		exprs: new Map(tensors.map((tensor) => [tensor.fqn, exprOf(tensor, chunks)])),
		chunks,
		[Symbol.asyncDispose]: () => bytes[Symbol.asyncDispose](),
	};
}

/** The name of an entry as a source tensor. No two entries have the same. */
export function entryName({ fqn, box }: Pick<Entry, "fqn" | "box">): string {
	return `${fqn} [${box.offset.join(",")}]`;
}

/** What of the entry's storage its tensor is. */
function chunkOf(entry: Entry, place: LocatedTensor): StoredChunk {
	const { dtype, shape, storageOffset, dataOffset } = place;
	const begin = dataOffset + storageOffset * itemBytes(dtype);
	const bytes = numel(shape) * itemBytes(dtype);
	const order = axesInMemory(entry, place);
	const tensor = {
		name: entryName(entry),
		dtype,
		shape: order.map((axis) => at(shape, axis)),
		file: entry.file,
		begin,
		end: begin + bytes,
	};
	return { tensor, order };
}

/**
 * A tensor that torch saved need not be contiguous: a transposed one is stored as it lay in memory.
 *
 * @returns Its axes, outermost in memory first.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` for a view with gaps, which DCP does not write.
 */
function axesInMemory(entry: Entry, { shape, strides }: LocatedTensor): readonly number[] {
	const all = shape.map((_, axis) => axis);
	const isContiguous = (order: readonly number[]): boolean => {
		const expected = contiguousStrides(order.map((axis) => at(shape, axis)));
		return order.every((axis, d) => at(shape, axis) === 1 || at(strides, axis) === at(expected, d));
	};
	if (isContiguous(all)) return all;
	const order = all.toSorted((a, b) => at(strides, b) - at(strides, a));
	if (isContiguous(order)) return order;
	throw new HfStreamDcpError(
		"CHECKPOINT_CORRUPT",
		`${entryName(entry)} in ${entry.file} is stored as a view with gaps, which is not supported`,
		{ hint: "Save it contiguously: tensor.contiguous().", facts: { fqn: entry.fqn } },
	);
}

function exprOf(
	{ fqn, dtype, shape, entries }: CheckpointTensor,
	chunks: OpenedCheckpoint["chunks"],
): Expr {
	if (numel(shape) === 0) return fill(shape, 0, dtype);
	const blocks = entries
		.filter(({ box }) => boxNumel(box) > 0)
		.map((entry): Block => {
			const chunk = chunks.get(entry);
			invariant(chunk !== undefined, `${fqn} was not located`);
			const { tensor, order } = chunk;
			const stored = sourceExpr(tensor.name, dtype, tensor.shape);
			const isInOrder = order.every((axis, d) => axis === d);
			// Axis `order[d]` of the tensor is axis `d` in memory.
			const expr = isInOrder
				? stored
				: permute(
						stored,
						order.map((_, axis) => order.indexOf(axis)),
					);
			return { box: entry.box, expr };
		});
	const expr = blocks.length === 0 ? undefined : assemble(fqn, blocks);
	if (expr !== undefined && shapesEqual(expr.shape, shape)) return expr;
	throw new HfStreamDcpError("CHECKPOINT_CORRUPT", `the chunks of ${fqn} do not cover it`, {
		hint: "`hf-stream-dcp verify` says what is wrong.",
		facts: { fqn },
	});
}
