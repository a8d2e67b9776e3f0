import { type Dtype, isDtype, itemBytes } from "../core/dtype.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { numel, type Shape } from "../core/shape.ts";
import { corrupt, quote } from "./corrupt.ts";
import {
	asCount,
	asItems,
	asObject,
	asString,
	globalName,
	isObjectOf,
	kindOf,
	type PicklePersistent,
	type PickleValue,
} from "./pickle-values.ts";
import { TENSOR_GLOBALS } from "./python-names.ts";
import { STORAGE_NAMES } from "./tensor-pickle.ts";
import { unpickle } from "./unpickler.ts";
import { type ListedRecord, listZip, locateData, type ZipSource } from "./zip-reader.ts";

/** `data.pkl` of a tensor has about 200 bytes. */
const MAX_PICKLE_BYTES = 64 * 1024;
const PICKLE_LIMITS = { maxObjects: 1000, maxOperations: 10_000 } as const;
const MAX_DIMENSIONS = 64;

/** A saved tensor: what it is and where its storage lies in the entry. */
export interface LocatedTensor {
	readonly dtype: Dtype;
	readonly shape: Shape;
	/** In elements, as stored: a saved tensor need not be contiguous. */
	readonly strides: readonly number[];
	/** Element of the storage at which the tensor begins. */
	readonly storageOffset: number;
	/** Bytes from the start of the entry to the storage. */
	readonly dataOffset: number;
	/** Length of the storage. */
	readonly dataBytes: number;
	/** CRC-32 of the storage as the entry states it; not checked. */
	readonly crc32: number;
}

const DTYPE_OF_STORAGE: ReadonlyMap<string, Dtype> = new Map(
	Object.entries(STORAGE_NAMES).map(([dtype, storage]) => [`torch.${storage}`, dtype as Dtype]),
);

/**
 * Reads everything but the data of an entry that `torch.save` or this program wrote.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT`; `DTYPE_UNSUPPORTED` for a dtype we cannot hold.
 */
export async function locateTensor(zip: ZipSource): Promise<LocatedTensor> {
	const records = await listZip(zip);
	// torch takes the name of the folder from the first record.
	const folder = /^[^/]*\//.exec(records[0]?.name ?? "")?.[0];
	if (folder === undefined) throw corrupt(`${zip.what} is no saved tensor`);
	const find = (name: string): ListedRecord => {
		const record = records.find((candidate) => candidate.name === folder + name);
		if (record === undefined) throw corrupt(`${zip.what} has no ${quote(name)}`);
		return record;
	};
	if (records.some(({ name }) => name === `${folder}byteorder`)) {
		const order = await readRecord(zip, find("byteorder"));
		if (Buffer.from(order).toString("latin1") !== "little") {
			throw corrupt(`${zip.what} is not little-endian, which is not supported`);
		}
	}
	const tensor = parseTensorPickle(await readRecord(zip, find("data.pkl")), zip.what);
	const data = find(`data/${tensor.key}`);
	if (data.size !== tensor.storageBytes) {
		throw corrupt(`${zip.what} has ${data.size} bytes of data instead of ${tensor.storageBytes}`);
	}
	const { dtype, shape, strides, storageOffset } = tensor;
	const dataOffset = await locateData(zip, data);
	const { size: dataBytes, crc32 } = data;
	return { dtype, shape, strides, storageOffset, dataOffset, dataBytes, crc32 };
}

async function readRecord(zip: ZipSource, record: ListedRecord): Promise<Uint8Array> {
	if (record.size > MAX_PICKLE_BYTES) {
		throw corrupt(`${zip.what} has ${record.size} bytes in ${quote(record.name)}`);
	}
	return zip.readAt(await locateData(zip, record), record.size);
}

interface ParsedTensor {
	readonly dtype: Dtype;
	readonly shape: Shape;
	readonly strides: readonly number[];
	readonly storageOffset: number;
	/** Name of the record below `data/`. */
	readonly key: string;
	readonly storageBytes: number;
}

/**
 * Reads `data.pkl`.
 *
 * @see torch 2.13 `torch/_utils.py` `_rebuild_tensor_v2`, `_rebuild_tensor_v3`; `torch/serialization.py` `persistent_id`
 */
export function parseTensorPickle(bytes: Uint8Array, what: string): ParsedTensor {
	const value = unpickle(bytes, { what, globals: TENSOR_GLOBALS, ...PICKLE_LIMITS });
	const v2 = "torch._utils._rebuild_tensor_v2";
	const v3 = "torch._utils._rebuild_tensor_v3";
	const { args, callable } = asObject(value, what, v2, v3);
	const [storage, offset, size, stride, , , last] = args;
	const { storageClass, key, length } = readStorage(storage, what);
	const name = callable === v3 ? globalName(last)?.replace(/^torch\./, "") : undefined;
	const dtype = name === undefined ? DTYPE_OF_STORAGE.get(storageClass) : name;
	if (dtype === undefined || !isDtype(dtype)) {
		const spelled = dtype ?? storageClass;
		throw new HfStreamDcpError("DTYPE_UNSUPPORTED", `${what} is a tensor of ${spelled}`, {
			facts: { dtype: spelled },
		});
	}
	const isUntyped = /^torch\.(storage\.)?UntypedStorage$/.test(storageClass);
	const storageBytes = length * (isUntyped ? 1 : itemBytes(dtype));
	const shape = readSizes(size, what);
	const strides = readSizes(stride, what);
	const storageOffset = asCount(offset, `the storage offset of ${what}`);
	if (strides.length !== shape.length) throw corrupt(`${what} has not one stride per dimension`);
	const extent = extentOf(shape, strides, storageOffset) * itemBytes(dtype);
	// The second condition excludes tensors that repeat their storage, whose size nothing bounds.
	if (extent > storageBytes || numel(shape) * itemBytes(dtype) > storageBytes) {
		throw corrupt(`${what} describes more elements than it stores`);
	}
	return { dtype, shape, strides, storageOffset, key, storageBytes };
}

/** One past the last element of the storage that the tensor uses. */
function extentOf(shape: Shape, strides: readonly number[], storageOffset: number): number {
	if (numel(shape) === 0) return 0;
	return shape.reduce(
		(sum, size, axis) => sum + (size - 1) * (strides[axis] ?? 0),
		storageOffset + 1,
	);
}

function readStorage(
	value: PickleValue | undefined,
	what: string,
): { storageClass: string; key: string; length: number } {
	if (value === undefined || kindOf(value) !== "persistent") {
		throw corrupt(`${what} has no storage`);
	}
	const id = asItems((value as PicklePersistent).id, `the storage of ${what}`);
	const storageClass = globalName(id[1]);
	if (id[0] !== "storage" || storageClass === undefined) throw corrupt(`${what} has no storage`);
	const key = asString(id[2], `the storage key of ${what}`);
	return { storageClass, key, length: asCount(id[4], `the storage length of ${what}`) };
}

function readSizes(value: PickleValue | undefined, what: string): number[] {
	const sizes = asItems(isObjectOf(value, "torch.Size") ? value.args[0] : value, what);
	if (sizes.length > MAX_DIMENSIONS) throw corrupt(`${what} has ${sizes.length} dimensions`);
	return sizes.map((size) => asCount(size, `a dimension of ${what}`));
}
