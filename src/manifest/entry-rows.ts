import { itemBytes } from "../core/dtype.ts";
import { numel } from "../core/shape.ts";
import { corruptManifest } from "./corrupt.ts";
import type { ManifestEntry, ManifestTensor } from "./manifest.ts";

/** Rows that are parsed at once: a megabyte of text, not all of it. */
const BLOCK_BYTES = 1024 * 1024;
const NEWLINE = 10;
const SHA256 = /^[0-9a-f]{64}$/;
const MAX_CRC = 0xffff_ffff;

/** What rows count in. */
export interface RowContext {
	readonly tensors: readonly (Pick<ManifestTensor, "dtype" | "shape"> & {
		readonly entries: ManifestEntry[];
	})[];
	/** Lengths of the data files, bytes. */
	readonly fileBytes: readonly number[];
	/** Number of sets of holders. */
	readonly holders: number;
	/** For messages. */
	readonly path: string;
}

/**
 * Parses and checks rows of entries, and gives each to its tensor.
 *
 * @param bytes - Lines of JSON lists, with a comma after all but the last.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT`
 */
export function addEntryRows(context: RowContext, bytes: Buffer): void {
	let last = 0;
	let count = 0;
	for (let begin = 0; begin < bytes.length;) {
		const stop = bytes.indexOf(NEWLINE, begin + BLOCK_BYTES);
		const end = stop < 0 ? bytes.length : stop;
		for (const row of parseRows(bytes.toString("latin1", begin, end), context)) {
			const fault = faultOf(row, context, last);
			if (fault !== undefined) {
				throw corruptManifest(context.path, `entry ${count}: ${fault}`);
			}
			const [tensor, offset, size, file, at, length, holders, crc32, hash, ends] = row as Row;
			last = tensor;
			count++;
			const entry: ManifestEntry = {
				box: { offset, size },
				file,
				offset: at,
				length,
				holders,
				...(crc32 === undefined ? undefined : { crc32 }),
				...(hash === undefined ? undefined : { hash }),
				...(ends === undefined ? undefined : { ends }),
			};
			context.tensors[tensor]?.entries.push(entry);
		}
		begin = end + 1;
	}
}

/** A row that was checked. */
type Row = readonly [
	tensor: number,
	offset: readonly number[],
	size: readonly number[],
	file: number,
	at: number,
	length: number,
	holders: number,
	crc32?: number,
	hash?: string,
	ends?: readonly number[],
];

/** Lines up to a line break, as JSON. */
function parseRows(lines: string, { path }: RowContext): readonly unknown[] {
	const text = lines.endsWith(",") ? lines.slice(0, -1) : lines;
	try {
		return JSON.parse(`[${text}]`) as unknown[];
	} catch (error) {
		throw corruptManifest(path, `its entries are not JSON: ${(error as Error).message}`);
	}
}

/** What is wrong with a row; `undefined` for a good one. */
function faultOf(row: unknown, context: RowContext, last: number): string | undefined {
	if (!Array.isArray(row) || row.length < 7 || row.length > 10) return "a row has 7 to 10 columns";
	const [index, offset, size, file, at, length, holders, crc32, hash, ends] = row as unknown[];
	const tensor = isCount(index) && index >= last ? context.tensors[index] : undefined;
	if (tensor === undefined) return "its tensor is unknown, or before that of the last row";
	if (!isBoxIn(offset, size, tensor.shape)) return "its box does not lie in the tensor";
	if (!isCount(file) || !isCount(at) || !isCount(length)) return "its place is no place";
	if (at + length > (context.fileBytes[file] ?? -1)) return "it does not lie in its file";
	if (!isCount(holders) || holders >= context.holders) return "its holders are unknown";
	if (crc32 !== undefined && !(isCount(crc32) && crc32 <= MAX_CRC)) return "its crc32 is no CRC-32";
	if (hash !== undefined && !(typeof hash === "string" && SHA256.test(hash)))
		return "its hash is no SHA-256";
	const dataBytes = numel(size) * itemBytes(tensor.dtype);
	if (length < dataBytes) return "it is shorter than its data";
	return ends === undefined || areEnds(ends, dataBytes) ? undefined : "its ends are no ends";
}

function isCount(value: unknown): value is number {
	return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isBoxIn(
	offset: unknown,
	size: unknown,
	shape: readonly number[],
): size is readonly number[] {
	if (!Array.isArray(offset) || !Array.isArray(size)) return false;
	if (offset.length !== shape.length || size.length !== shape.length) return false;
	for (let axis = 0; axis < shape.length; axis++) {
		const [start, length]: readonly unknown[] = [offset[axis], size[axis]];
		if (!isCount(start) || !isCount(length) || start + length > (shape[axis] ?? 0)) return false;
	}
	return true;
}

/** At least two, ascending, the last one the end of the data. */
function areEnds(ends: unknown, dataBytes: number): boolean {
	if (!Array.isArray(ends) || ends.length < 2 || ends.at(-1) !== dataBytes) return false;
	return ends.every((end, index) => isCount(end) && end > (index === 0 ? 0 : ends[index - 1]));
}
