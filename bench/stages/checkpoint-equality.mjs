// Whether a checkpoint made with `--target hf` holds the bytes of its source, entry by entry.
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { torchSaveFormat } from "../../dist/src/dcp/torch-save.js";
import { inspectCheckpoint } from "../../dist/src/index.js";
import { NotEqualError } from "./stage.mjs";

async function readAt(path, position, length) {
	const file = await open(path, "r");
	try {
		const bytes = Buffer.allocUnsafe(length);
		const { bytesRead } = await file.read(bytes, 0, length, position);
		return bytes.subarray(0, bytesRead);
	} finally {
		await file.close();
	}
}

/** Every tensor of a directory of safetensors files: where its bytes begin and how many a row has. */
async function findTensors(directory) {
	const tensors = new Map();
	for (const name of await readdir(directory)) {
		if (!name.endsWith(".safetensors")) continue;
		const path = join(directory, name);
		const headerBytes = Number((await readAt(path, 0, 8)).readBigUInt64LE());
		const header = JSON.parse((await readAt(path, 8, headerBytes)).toString());
		for (const [tensor, { shape, data_offsets: offsets }] of Object.entries(header)) {
			if (tensor === "__metadata__") continue;
			const begin = 8 + headerBytes + offsets[0];
			tensors.set(tensor, { path, begin, rowBytes: (offsets[1] - offsets[0]) / shape[0] });
		}
	}
	return tensors;
}

/**
 * Compares every entry with the rows of its source tensor.
 *
 * @param {string} checkpoint of a mesh that cuts rows only
 * @param {string} model directory of the source
 * @throws {NotEqualError} naming the first entry that differs
 */
export async function assertHoldsRows(checkpoint, model) {
	const sources = await findTensors(model);
	const { tensors } = await inspectCheckpoint(checkpoint);
	if (tensors.length !== sources.size) throw new NotEqualError("the numbers of tensors");
	for (const { fqn, dtype, entries } of tensors) {
		const source = sources.get(fqn);
		if (source === undefined) throw new NotEqualError(`the names of ${fqn}`);
		for (const { box, file, offset } of entries) {
			const { prefixBytes, dataBytes } = torchSaveFormat.geometry(dtype, box.size);
			const got = await readAt(join(checkpoint, file), offset + prefixBytes, dataBytes);
			const begin = source.begin + (box.offset[0] ?? 0) * source.rowBytes;
			const expected = await readAt(source.path, begin, dataBytes);
			if (!got.equals(expected)) throw new NotEqualError(`rows ${box.offset[0]} … of ${fqn}`);
		}
	}
}
