import { openCheckpoint, type OpenedCheckpoint } from "../../checkpoint/open-checkpoint.ts";
import { type Box, formatBox, intersectBoxes } from "../../core/box.ts";
import type { CheckpointTensor } from "../../core/checkpoint.ts";
import { HfStreamDcpError, isHfStreamDcpError } from "../../core/errors.ts";
import { emitTo } from "../../core/events.ts";
import { at } from "../../core/shape.ts";
import { readCheckpointIndex } from "../../dcp/checkpoint-reader.ts";
import type { Manifest } from "../../manifest/manifest.ts";
import { readManifest } from "../../manifest/read.ts";
import { DEFAULT_MEMORY_BYTES } from "../../options.ts";
import { measure } from "../../values/measure.ts";
import {
	selectBlock,
	selected,
	type Selection,
	splitTensorText,
	type TensorText,
} from "../../values/selection.ts";
import { unknownTensor, useOf } from "./find-tensor.ts";
import type { InspectedTensor, InspectTensorOptions, StoredPiece } from "./inspected-tensor.ts";
import { compareWithSource } from "./side-by-side.ts";

/** Looks at a tensor of a checkpoint, ours or torch's. */
export async function inspectCheckpointTensor(
	directory: string,
	options: InspectTensorOptions,
): Promise<InspectedTensor> {
	const manifest = await manifestOf(directory, options);
	const found = await find(directory, options, manifest);
	await using opened = await openCheckpoint({
		directory,
		isWanted: (fqn) => fqn === found.name,
		signal: options.signal,
	});
	const tensor = opened.checkpoint.tensors.find(({ fqn }) => fqn === found.name);
	const whole = opened.exprs.get(found.name);
	if (tensor === undefined || whole === undefined) {
		throw new HfStreamDcpError("SOURCE_CHANGED", `${directory} changed while it was read`);
	}
	const selection = select(tensor, found, options);
	const expr = selected(whole, selection);
	const readable = { expr, source: opened.source, bytes: opened.bytes };
	const { source, statistics, memoryBytes, signal, onEvent } = options;
	const sides =
		source === undefined || source === false
			? {
					values: await measure({
						tensor: readable,
						statistics,
						memoryBytes: memoryBytes ?? DEFAULT_MEMORY_BYTES,
						signal,
						onEvent,
					}),
					source: undefined,
				}
			: await compareWithSource({ manifest, tensor, selection, readable, options });
	return {
		target: directory,
		kind: "checkpoint",
		commit: undefined,
		name: found.name,
		askedFor: found.askedFor,
		dtype: tensor.dtype,
		shape: tensor.shape,
		block: selection,
		chunk: found.chunk,
		stored: storedPieces(opened, tensor, selection.box),
		...sides,
	};
}

/** A damaged manifest says nothing of names; where a comparison needs it, that fails. */
async function manifestOf(
	directory: string,
	{ source, onEvent }: InspectTensorOptions,
): Promise<Manifest | undefined> {
	try {
		return await readManifest(directory);
	} catch (error) {
		const isNeeded = source !== undefined && source !== false;
		if (isNeeded || !isHfStreamDcpError(error, "CHECKPOINT_CORRUPT")) throw error;
		emitTo(onEvent)({ kind: "warning", message: error.message });
		return undefined;
	}
}

/** Which tensor is meant, and what of it. */
interface Found extends TensorText {
	readonly askedFor: string | undefined;
	readonly chunk: number | undefined;
}

async function find(
	directory: string,
	{ target, tensor: text, chunk, entry }: InspectTensorOptions,
	manifest: Manifest | undefined,
): Promise<Found> {
	const { tensors, objects } = await readCheckpointIndex(directory);
	if (entry !== undefined) {
		if (chunk !== undefined) {
			throw new HfStreamDcpError(
				"OPTIONS_INVALID",
				"a chunk and an entry say the same thing twice",
			);
		}
		const place = findEntry(tensors, entry);
		if (place === undefined) throw unknownEntry(target, tensors, entry);
		const { name, index } = splitTensorText(text ?? place.fqn, (whole) => whole === place.fqn);
		if (name !== place.fqn) {
			throw new HfStreamDcpError(
				"OPTIONS_INVALID",
				`the entry at ${entry.file}:${entry.offset} is of ${place.fqn}, not of ${name}`,
			);
		}
		return { name, index, askedFor: undefined, chunk: place.chunk };
	}
	const names = tensors.map(({ fqn }) => fqn);
	const known = new Set(names);
	const { name, index } = splitTensorText(text ?? "", (whole) => known.has(whole));
	if (known.has(name)) return { name, index, askedFor: undefined, chunk };
	const [only, ...more] = (manifest && useOf(manifest, name)?.targets) ?? [];
	// An index counts in the source tensor, whose elements may lie elsewhere in the target.
	const isClear = only !== undefined && more.length === 0 && known.has(only) && index === undefined;
	if (isClear) return { name: only, index, askedFor: name, chunk };
	throw unknownTensor({ target, name, names, manifest, objects: objects.map(({ fqn }) => fqn) });
}

type EntryPlace = NonNullable<InspectTensorOptions["entry"]>;

function findEntry(
	tensors: readonly CheckpointTensor[],
	{ file, offset }: EntryPlace,
): { readonly fqn: string; readonly chunk: number } | undefined {
	for (const { fqn, entries } of tensors) {
		const chunk = entries.findIndex((entry) => entry.file === file && entry.offset === offset);
		if (chunk >= 0) return { fqn, chunk };
	}
	return undefined;
}

function unknownEntry(
	target: string,
	tensors: readonly CheckpointTensor[],
	{ file, offset }: EntryPlace,
): HfStreamDcpError {
	const own = tensors.flatMap(({ entries }) => entries.filter((entry) => entry.file === file));
	const [near] = own.toSorted((a, b) => Math.abs(a.offset - offset) - Math.abs(b.offset - offset));
	return new HfStreamDcpError(
		"OPTIONS_INVALID",
		`no tensor of ${target} begins at ${file}:${offset}`,
		{
			hint:
				near === undefined
					? "The file has no tensors; --files lists those that do."
					: `The nearest is at ${near.file}:${near.offset}, of ${near.fqn} ${formatBox(near.box)}.`,
			facts: { file, offset },
		},
	);
}

/** What is looked at: what the index says, which counts in the chunk where one was asked for. */
function select(
	{ fqn, shape, entries }: CheckpointTensor,
	{ index, chunk }: Found,
	{ target }: InspectTensorOptions,
): Selection {
	if (chunk === undefined) return selectBlock(shape, index);
	const entry = entries[chunk];
	if (entry === undefined) {
		throw new HfStreamDcpError("OPTIONS_INVALID", `${fqn} in ${target} has no chunk ${chunk}`, {
			hint: `It has ${entries.length}, counted from 0.`,
		});
	}
	const own = selectBlock(entry.box.size, index);
	const offset = own.box.offset.map((start, axis) => start + at(entry.box.offset, axis));
	return { box: { offset, size: own.box.size }, shape: own.shape };
}

function storedPieces(
	opened: OpenedCheckpoint,
	{ entries }: CheckpointTensor,
	box: Box,
): StoredPiece[] {
	return entries.flatMap((entry, chunk) => {
		const place = opened.chunks.get(entry)?.tensor;
		if (place === undefined || intersectBoxes(entry.box, box) === undefined) return [];
		const { file, offset, length } = entry;
		return [
			{ chunk, box: entry.box, file, offset, length, dataBegin: place.begin, dataEnd: place.end },
		];
	});
}
