import { type Box, boxKey, boxNumel } from "../core/box.ts";
import type { CheckpointTensor } from "../core/checkpoint.ts";
import { itemBytes } from "../core/dtype.ts";
import type { Entry } from "../core/ports.ts";
import { at, contiguousStrides, formatShape, shapesEqual } from "../core/shape.ts";
import type { ReadCheckpoint } from "../dcp/checkpoint-reader.ts";
import { quote } from "../dcp/corrupt.ts";
import { locateEntries } from "../dcp/locate-entries.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { ComparedTensor } from "./compare/comparison.ts";
import type { StoredBlock } from "./compare/stored-block.ts";
import type { Problem } from "./problem.ts";

/** A block that is all of an entry. */
export interface EntryBlock extends StoredBlock {
	readonly entry: Entry;
}

/**
 * The tensors of a checkpoint with the recipes that its manifest says they were made by.
 *
 * @param onProblem - Told of tensors that only one of them has, or that are not the same in both; they are left out.
 */
export function tensorsOf(
	checkpoint: ReadCheckpoint,
	manifest: Manifest,
	onProblem: (problem: Problem) => void,
): readonly ComparedTensor<EntryBlock>[] {
	const recipes = new Map(manifest.tensors.map((tensor) => [tensor.fqn, tensor]));
	const tensors: ComparedTensor<EntryBlock>[] = [];
	for (const tensor of checkpoint.tensors) {
		const { fqn, dtype, shape } = tensor;
		const recipe = recipes.get(fqn)?.recipe;
		recipes.delete(fqn);
		const problem = (message: string): void => onProblem({ kind: "manifest", message, fqn });
		if (recipe === undefined) problem(`the manifest has no recipe of ${quote(fqn)}`);
		else if (recipe.dtype !== dtype || !shapesEqual(recipe.shape, shape)) {
			problem(
				`${quote(fqn)} is ${dtype} ${formatShape(shape)}, and its recipe makes ${recipe.dtype} ${formatShape(recipe.shape)}`,
			);
		} else tensors.push({ expr: recipe, blocks: blocksOf(tensor) });
	}
	for (const fqn of recipes.keys()) {
		onProblem({ kind: "manifest", message: `${quote(fqn)} of the manifest is not there`, fqn });
	}
	return tensors;
}

function blocksOf({ fqn, dtype, shape, entries }: CheckpointTensor): EntryBlock[] {
	const order = shape.map((_, axis) => axis);
	return entries.map((entry) => ({ fqn, dtype, box: entry.box, order, file: entry.file, entry }));
}

/**
 * Which entries a directory has. All of them, but for a directory that was written by one of several workers to a disk of its own.
 *
 * @param onProblem - Told of files that must be there and are not.
 */
export function entriesHere(
	checkpoint: ReadCheckpoint,
	{ ranks, tensors }: Manifest,
	onProblem: (problem: Problem) => void,
): (entry: Entry) => boolean {
	const missing = new Set(
		checkpoint.files.filter(({ isMissing }) => isMissing).map(({ name }) => name),
	);
	const elsewhere = new Set<string>();
	for (const { fqn, entries } of ranks === undefined ? [] : tensors) {
		// What is not here has no checksum.
		for (const { box, crc32 } of entries) if (crc32 === undefined) elsewhere.add(keyOf(fqn, box));
	}
	const mustBeHere = ({ fqn, box }: Entry): boolean =>
		boxNumel(box) > 0 && !elsewhere.has(keyOf(fqn, box));
	const entries = checkpoint.tensors.flatMap((tensor) => tensor.entries).filter(mustBeHere);
	const wanted = new Set(entries.map(({ file }) => file));
	for (const name of [...missing].filter((file) => wanted.has(file))) {
		onProblem({ kind: "missing", message: `${quote(name)} is missing`, file: name });
	}
	return (entry) => mustBeHere(entry) && !missing.has(entry.file);
}

function keyOf(fqn: string, box: Box): string {
	return `${boxKey(box)} ${fqn}`;
}

/** Bytes of the data of an entry. */
export function dataBytesOf({ dtype, box }: Entry): number {
	return boxNumel(box) * itemBytes(dtype);
}

/**
 * Where the data of entries begins, bytes from the start of their files.
 *
 * @param onProblem - Told of entries that are not stored as this program stores them; they are left out.
 */
export async function placesOf(
	directory: string,
	entries: readonly Entry[],
	onProblem: (problem: Problem) => void,
	signal: AbortSignal | undefined,
): Promise<ReadonlyMap<Entry, number>> {
	const places = new Map<Entry, number>();
	const damaged = ({ fqn, file, offset, length }: Entry, message: string): void => {
		const range = { start: offset, end: offset + length };
		onProblem({ kind: "container", message, fqn, file, range });
	};
	const onDamage = (entry: Entry, error: Error): void => damaged(entry, error.message);
	const located = await locateEntries(directory, entries, { signal, onDamage });
	for (const [entry, { shape, strides, dtype, dataOffset, storageOffset }] of located) {
		const expected = contiguousStrides(shape);
		const isContiguous = shape.every((size, d) => size === 1 || strides[d] === at(expected, d));
		if (isContiguous) places.set(entry, dataOffset + storageOffset * itemBytes(dtype));
		else damaged(entry, `${quote(entry.fqn)} is stored with the strides ${formatShape(strides)}`);
	}
	return places;
}
