import { cp, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointIndex, CheckpointTensor } from "../../src/core/checkpoint.ts";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";

/** Copies a checkpoint, with another `.metadata`. */
export async function withMetadata(
	from: string,
	to: string,
	change: (tensor: CheckpointTensor, index: CheckpointIndex) => CheckpointTensor,
): Promise<string> {
	await cp(from, to, { recursive: true });
	const index = await readCheckpointIndex(from);
	const tensors = index.tensors.map((tensor) => change(tensor, index));
	await writeFile(join(to, ".metadata"), encodeMetadata({ tensors, objects: [] }));
	return to;
}

/** Changes the entries of one tensor. */
export function entriesOf(
	fqn: string,
	change: (
		entries: CheckpointTensor["entries"],
		index: CheckpointIndex,
	) => CheckpointTensor["entries"],
): (tensor: CheckpointTensor, index: CheckpointIndex) => CheckpointTensor {
	return (tensor, index) =>
		tensor.fqn === fqn ? { ...tensor, entries: change(tensor.entries, index) } : tensor;
}

/** Copies a checkpoint without one of its files. */
export async function withoutFile(from: string, to: string, name: string): Promise<string> {
	await cp(from, to, { recursive: true });
	await rm(join(to, name));
	return to;
}

/** Copies a checkpoint with the end of one of its files cut off. */
export async function withShortFile(
	from: string,
	to: string,
	name: string,
	bytes: number,
): Promise<string> {
	await cp(from, to, { recursive: true });
	await truncate(join(to, name), bytes);
	return to;
}
