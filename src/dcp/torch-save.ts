import { crc32 as crc32Of } from "../checksum/crc32.ts";
import { type Dtype, itemBytes } from "../core/dtype.ts";
import type { EntryFormat, EntryGeometry } from "../core/ports.ts";
import { at, numel, type Shape } from "../core/shape.ts";
import { ByteWriter } from "./byte-writer.ts";
import { serializationId } from "./serialization-id.ts";
import { encodeTensorPickle } from "./tensor-pickle.ts";
import {
	layOutZip,
	writeDescriptor,
	writeDirectory,
	writeLocalHeader,
	type ZipRecord,
	zipLength,
} from "./zip-writer.ts";

/**
 * An entry of a `.distcp` file: the zip that `torch.save` writes for one contiguous CPU tensor, byte for byte.
 *
 * Everything but the data itself follows from dtype, shape and the CRC-32 of the data.
 *
 * @see torch 2.13 `torch/serialization.py` `_save`
 */
const DATA_NAME = "archive/data/0";
const SERIALIZATION_ID_NAME = "archive/.data/serialization_id";
/** 20 decimal digits for the names of the records, 20 for their CRCs. */
const SERIALIZATION_ID_BYTES = 40;
/** Index of the data in the list of records. */
const DATA = 4;

const BEFORE_DATA = [
	{ name: "archive/.format_version", bytes: Buffer.from("1") },
	{ name: "archive/.storage_alignment", bytes: Buffer.from("64") },
	{ name: "archive/byteorder", bytes: Buffer.from("little") },
] as const;
const VERSION = { name: "archive/version", bytes: Buffer.from("3\n") } as const;

interface Layout {
	readonly pickle: Uint8Array;
	readonly records: readonly ZipRecord[];
}

/** A checkpoint has many entries of few shapes. */
const layouts = new Map<string, Layout>();
const MAX_LAYOUTS = 1024;

function layOut(dtype: Dtype, shape: Shape): Layout {
	const key = `${dtype} ${shape.join()}`;
	let layout = layouts.get(key);
	if (layout === undefined) {
		if (layouts.size >= MAX_LAYOUTS) layouts.clear();
		layout = computeLayout(dtype, shape);
		layouts.set(key, layout);
	}
	return layout;
}

function computeLayout(dtype: Dtype, shape: Shape): Layout {
	const pickle = encodeTensorPickle(dtype, shape);
	const records = layOutZip([
		{ name: "archive/data.pkl", size: pickle.length },
		...BEFORE_DATA.map(({ name, bytes }) => ({ name, size: bytes.length })),
		{ name: DATA_NAME, size: numel(shape) * itemBytes(dtype) },
		{ name: VERSION.name, size: VERSION.bytes.length },
		{ name: SERIALIZATION_ID_NAME, size: SERIALIZATION_ID_BYTES },
	]);
	return { pickle, records };
}

/** The default format of DCP: one `torch.save` zip per chunk. */
export const torchSaveFormat: EntryFormat = {
	name: "torch_save",
	geometry(dtype: Dtype, shape: Shape): EntryGeometry {
		const { records } = layOut(dtype, shape);
		const { dataOffset, size } = at(records, DATA);
		const suffixBytes = zipLength(records) - dataOffset - size;
		return { prefixBytes: dataOffset, dataBytes: size, suffixBytes };
	},
};

/**
 * Where the records of an entry lie, from its start: the pickle, three that describe the file, the data, the version, the
 * serialization id.
 */
export function entryRecords(dtype: Dtype, shape: Shape): readonly ZipRecord[] {
	return layOut(dtype, shape).records;
}

/** The bytes before the data: everything that is known without it. */
export function encodePrefix(dtype: Dtype, shape: Shape): Uint8Array {
	const { pickle, records } = layOut(dtype, shape);
	const out = new ByteWriter(1024);
	const contents = [pickle, ...BEFORE_DATA.map(({ bytes }) => bytes)];
	for (const [index, bytes] of contents.entries()) {
		const record = at(records, index);
		writeLocalHeader(out, record);
		out.bytes(bytes);
		writeDescriptor(out, record, crc32Of(bytes));
	}
	writeLocalHeader(out, at(records, DATA));
	return out.finish();
}

/**
 * The bytes after the data.
 *
 * @param crc32 - CRC-32 of the data; 0 for no data.
 * @param id - 40 ASCII digits. By default those `torch.save` would write, which depend on `crc32`.
 */
export function encodeSuffix(dtype: Dtype, shape: Shape, crc32: number, id?: string): Uint8Array {
	const { pickle, records } = layOut(dtype, shape);
	const crcs = [
		crc32Of(pickle),
		...BEFORE_DATA.map(({ bytes }) => crc32Of(bytes)),
		crc32,
		crc32Of(VERSION.bytes),
	];
	const isWritten = (_: number, index: number): boolean => at(records, index).size > 0;
	const idBytes = Buffer.from(id ?? serializationId(crcs.filter(isWritten)), "latin1");
	crcs.push(crc32Of(idBytes));
	const out = new ByteWriter(1024);
	writeDescriptor(out, at(records, DATA), crc32);
	for (const [index, bytes] of [VERSION.bytes, idBytes].entries()) {
		const record = at(records, DATA + 1 + index);
		writeLocalHeader(out, record);
		out.bytes(bytes);
		writeDescriptor(out, record, crc32Of(bytes));
	}
	writeDirectory(out, records, crcs);
	return out.finish();
}
