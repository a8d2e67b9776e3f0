import type { CheckpointIndex, CheckpointTensor } from "../core/checkpoint.ts";
import type { Dtype } from "../core/dtype.ts";
import { invariant } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import { OP } from "./pickle-opcodes.ts";
import { PickleWriter } from "./pickle-writer.ts";
import { FILESYSTEM_MODULE, METADATA_MODULE } from "./python-names.ts";

/**
 * The bytes of `.metadata` for a checkpoint.
 *
 * One form for every torch from 2.3 to 2.14: protocol 2, DCP's own `TensorProperties` (torch 2.3 and later), and no `StorageMeta`,
 * a class that 2.3 does not have. `planner_data` holds the flat paths that a flat state dict has. Every `torch.Size` is written once.
 *
 * @see torch 2.13 `torch/distributed/checkpoint/metadata.py`, `filesystem.py`; `docs/dcp-format.md`.
 */
export function encodeMetadata(index: CheckpointIndex): Uint8Array {
	const out = new PickleWriter();
	writeObject(out, METADATA_MODULE, "Metadata", () => {
		out.string("state_dict_metadata");
		writeDict(out, index.tensors.length + index.objects.length, () => {
			for (const tensor of index.tensors) writeTensor(out, tensor);
			for (const { fqn } of index.objects) {
				out.string(fqn);
				writeBare(out, METADATA_MODULE, "BytesStorageMetadata");
			}
		});
		out.string("planner_data");
		writeDict(out, index.tensors.length + index.objects.length, () => {
			for (const { fqn } of [...index.tensors, ...index.objects]) {
				out.string(fqn);
				out.string(fqn);
				out.op(OP.tuple1);
			}
		});
		out.string("storage_data");
		const items = index.tensors.reduce((sum, tensor) => sum + tensor.entries.length, 0);
		writeDict(out, items + index.objects.length, () => writeStorageData(out, index));
		out.string("storage_meta");
		out.op(OP.none);
	});
	return out.finish();
}

function writeTensor(out: PickleWriter, tensor: CheckpointTensor): void {
	out.string(tensor.fqn);
	writeObject(out, METADATA_MODULE, "TensorStorageMetadata", () => {
		out.string("properties");
		writeProperties(out, tensor.dtype);
		out.string("size");
		writeSize(out, tensor.shape);
		out.string("chunks");
		out.op(OP.emptyList);
		if (tensor.entries.length === 0) return;
		out.op(OP.mark);
		for (const { box } of tensor.entries) {
			writeObject(out, METADATA_MODULE, "ChunkStorageMetadata", () => {
				out.string("offsets");
				writeSize(out, box.offset);
				out.string("sizes");
				writeSize(out, box.size);
			});
		}
		out.op(OP.appends);
	});
}

/** The state of `TensorProperties` is a tuple: dtype, layout, requires_grad, memory format, pin_memory. Readers use the dtype alone. */
function writeProperties(out: PickleWriter, dtype: Dtype): void {
	writeBare(out, METADATA_MODULE, "TensorProperties");
	out.op(OP.mark);
	out.global("torch", dtype);
	out.shared("strided", () => {
		out.global("torch.serialization", "_get_layout");
		out.string("torch.strided");
		out.op(OP.tuple1);
		out.op(OP.reduce);
	});
	out.op(OP.newfalse);
	out.shared("contiguous", () => {
		out.global(METADATA_MODULE, "_MEM_FORMAT_ENCODING");
		out.int(0);
		out.op(OP.tuple1);
		out.op(OP.reduce);
	});
	out.op(OP.newfalse);
	out.op(OP.tuple);
	out.op(OP.build);
}

function writeStorageData(out: PickleWriter, index: CheckpointIndex): void {
	for (const tensor of index.tensors) {
		for (const [position, entry] of tensor.entries.entries()) {
			invariant(entry.fqn === tensor.fqn, `an entry of ${entry.fqn} under ${tensor.fqn}`);
			writeObject(out, METADATA_MODULE, "MetadataIndex", () => {
				out.string("fqn");
				out.string(entry.fqn);
				out.string("index");
				out.int(position);
				out.string("offset");
				writeSize(out, entry.box.offset);
			});
			writeStorageInfo(out, entry);
		}
	}
	for (const object of index.objects) {
		writeObject(out, METADATA_MODULE, "MetadataIndex", () => {
			out.string("fqn");
			out.string(object.fqn);
			out.string("index");
			out.op(OP.none);
		});
		writeStorageInfo(out, object);
	}
}

function writeStorageInfo(
	out: PickleWriter,
	place: { readonly file: string; readonly offset: number; readonly length: number },
): void {
	writeObject(out, FILESYSTEM_MODULE, "_StorageInfo", () => {
		out.string("relative_path");
		out.string(place.file);
		out.string("offset");
		out.int(place.offset);
		out.string("length");
		out.int(place.length);
	});
}

function writeSize(out: PickleWriter, sizes: Shape): void {
	// Tensors that are cut alike have the same lists, which are known without looking into them.
	if (out.recall(sizes)) return;
	const key = sizes.join(",");
	out.shared(key, () => {
		out.global("torch", "Size");
		out.intTuple(sizes);
		out.op(OP.tuple1);
		out.op(OP.reduce);
	});
	out.alias(sizes, key);
}

/** `cls.__new__(cls)`: an object whose constructor does not run. */
function writeBare(out: PickleWriter, module: string, name: string): void {
	out.global(module, name);
	out.op(OP.emptyTuple);
	out.op(OP.newobj);
}

/** An object whose attributes are the pairs that `writeState` writes. */
function writeObject(
	out: PickleWriter,
	module: string,
	name: string,
	writeState: () => void,
): void {
	writeBare(out, module, name);
	writeDict(out, 1, writeState);
	out.op(OP.build);
}

function writeDict(out: PickleWriter, pairs: number, write: () => void): void {
	out.op(OP.emptyDict);
	if (pairs === 0) return;
	out.op(OP.mark);
	write();
	out.op(OP.setitems);
}
