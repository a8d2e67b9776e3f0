import { crc32 } from "node:zlib";
import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import { type Dtype, itemBytes } from "../../src/core/dtype.ts";
import type { Entry, EntrySink } from "../../src/core/ports.ts";
import { numel, type Shape } from "../../src/core/shape.ts";
import type { PlannedFile } from "../../src/dcp/data-files.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";

/** A checkpoint to write: where everything goes. */
export interface TestCheckpoint {
	readonly entries: readonly Entry[];
	readonly files: readonly PlannedFile[];
	readonly index: CheckpointIndex;
}

/** A tensor cut along dim 0 into chunks of these many rows; chunk `i` goes to file `__{i}_0.distcp`. */
export interface TestTensor {
	readonly fqn: string;
	readonly dtype: Dtype;
	readonly shape: Shape;
	readonly rows: readonly number[];
}

/** Lays tensors out into files, entries back to back. */
export function layOutCheckpoint(tensors: readonly TestTensor[]): TestCheckpoint {
	const ends = new Map<string, number>();
	const index: CheckpointIndex = {
		tensors: tensors.map(({ fqn, dtype, shape, rows }) => {
			let row = 0;
			const chunks = rows.map((count, rank) => {
				const box = {
					offset: shape.map((_, axis) => (axis === 0 ? row : 0)),
					size: shape.map((size, axis) => (axis === 0 ? count : size)),
				};
				row += count;
				const file = `__${rank}_0.distcp`;
				const { prefixBytes, dataBytes, suffixBytes } = torchSaveFormat.geometry(dtype, box.size);
				const offset = ends.get(file) ?? 0;
				const length = prefixBytes + dataBytes + suffixBytes;
				ends.set(file, offset + length);
				return { fqn, dtype, box, file, offset, length };
			});
			return { fqn, dtype, shape, entries: chunks };
		}),
		objects: [],
	};
	const files = [...ends].map(([name, bytes]) => ({ name, bytes }));
	return { entries: index.tensors.flatMap(({ entries }) => entries), files, index };
}

/** Bytes that differ from entry to entry and from place to place; no random numbers, so that a failure repeats. */
export function dataOf(entry: Entry): Uint8Array {
	const length = numel(entry.box.size) * itemBytes(entry.dtype);
	const seed = crc32(`${entry.fqn} ${entry.box.offset.join()}`);
	// 0 and 1 are the only bytes that every dtype, bool included, can hold.
	return Uint8Array.from({ length }, (_, at) => (((seed ^ at) * 2_654_435_761) >>> 31) & 1);
}

/** Writes entry number `index` in pieces of at most `pieceBytes`. */
export async function writeEntry(
	writer: Pick<EntrySink, "write" | "finish">,
	entries: readonly Entry[],
	index: number,
	pieceBytes: number = Number.MAX_SAFE_INTEGER,
): Promise<void> {
	const entry = entries[index];
	if (entry === undefined) throw new Error(`no entry ${index}`);
	const data = dataOf(entry);
	for (let at = 0; at < data.length; at += pieceBytes) {
		await writer.write(index, at, data.subarray(at, at + pieceBytes));
	}
	await writer.finish(index, crc32(data));
}
