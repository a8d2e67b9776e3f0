import { type Dtype, itemBytes } from "../core/dtype.ts";
import { at, numel, type Shape } from "../core/shape.ts";
import { entryRecords } from "../dcp/torch-save.ts";
import { zipLength } from "../dcp/zip-writer.ts";
import { type BufferedFile, readInto, type ReadCounts } from "./buffered-file.ts";

/** What `torch.load` reads of the entries of one kind, whichever part of them is wanted: everything. */
export interface EntryReads {
	/** Position from the start of the entry and length of each read, in turn: `[position, length, position, length, …]`. */
	readonly reads: readonly number[];
	/** Of the tensor that is made of it: memory that the load takes beside its targets. */
	readonly dataBytes: number;
}

/** How far from its end an archive's directory is looked for. @see miniz 3.0.2 `mz_zip_reader_locate_header_sig` */
const SEARCH_BYTES = 4096;
const LOCAL_HEADER_BYTES = 30;
const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;

/** Records as {@link entryRecords} lists them, in the order in which they are read, the data last. */
const RECORD_ORDER = [6, 5, 1, 3, 2, 0, 4] as const;
const DATA = 4;

/**
 * The reads of one entry as `torch.load` makes them through a view of the data file: first bytes, end of the archive, central
 * directory, the small records each with its header, the pickle, all of the data. No read is saved by wanting only a part.
 *
 * Of an entry whose length is not that of `dtype` and `size` (a storage that is larger than its tensor) the data is taken to be what is
 * longer.
 *
 * @param length - Of the entry, bytes.
 * @see torch 2.13 `torch/serialization.py` `load`, `_is_zipfile`; `caffe2/serialize/inline_container.cc` `PyTorchStreamReader::init`.
 */
export function entryReads(dtype: Dtype, size: Shape, length: number): EntryReads {
	const records = entryRecords(dtype, size);
	const longer = length - zipLength(records);
	const dataBytes = Math.max(0, numel(size) * itemBytes(dtype) + longer);
	const end = length - END_BYTES;
	const end64 = end - LOCATOR_BYTES - END64_BYTES;
	const directory = records.reduce((sum, { name }) => sum + 46 + name.length, 0);
	const search = Math.min(SEARCH_BYTES, length);
	const reads = [0, 4, length, 0, 0, 8, length - search, search];
	reads.push(end, END_BYTES, end - LOCATOR_BYTES, LOCATOR_BYTES, end64, END64_BYTES);
	reads.push(end64 - directory, directory);
	for (const index of RECORD_ORDER) {
		const record = at(records, index);
		const behind = index > DATA ? longer : 0;
		const bytes = index === DATA ? dataBytes : record.size;
		if (bytes === 0) continue;
		reads.push(record.headerOffset + behind, LOCAL_HEADER_BYTES);
		reads.push(record.dataOffset + behind, bytes);
	}
	return { reads, dataBytes };
}

/** Makes the reads of an entry that begins at `offset` of a file. */
export function loadEntry(
	{ reads }: EntryReads,
	offset: number,
	file: BufferedFile,
	fileBytes: number,
	buffer: number,
	counts: ReadCounts,
): void {
	for (let index = 0; index < reads.length; index += 2) {
		const position = offset + (reads[index] ?? 0);
		readInto(file, position, reads[index + 1] ?? 0, fileBytes, buffer, counts);
	}
}
