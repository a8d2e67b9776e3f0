import { dtypeFromSafetensors } from "../core/dtype.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import type { SourceTensor } from "../core/source.ts";
import { checkCoverage, isStoredDtype, type StoredTensor } from "./header-coverage.ts";
import { type HeaderContext, invalidHeader, invalidMember, memberName } from "./header-error.ts";
import {
	createJsonReader,
	finishJson,
	JsonError,
	type JsonReader,
	quote,
	readArray,
	readNatural,
	readNullIf,
	readObject,
	readString,
	skipValue,
} from "./strict-json.ts";

/** What the header of a safetensors file says. */
export interface SafetensorsHeader {
	/** Bytes of the length field and the JSON together: where the data begins. */
	readonly headerBytes: number;
	/** `__metadata__`. */
	readonly metadata: ReadonlyMap<string, string>;
	/** Sorted by `begin`; they cover the data without gap or overlap. */
	readonly tensors: readonly SourceTensor[];
}

/** Bytes of the length field that a file begins with: an unsigned little-endian 64-bit number. */
export const HEADER_LENGTH_BYTES = 8;

/** Longest JSON, bytes: safetensors 0.8 `MAX_HEADER_SIZE`. Fatal beyond. */
const MAX_HEADER_JSON_BYTES = 100_000_000;

/** Most dimensions: what PyTorch's dimension sets hold. safetensors has no limit. Fatal beyond. */
const MAX_DIMENSIONS = 64;

/**
 * The length of the JSON, from the first 8 bytes of a file; checked against the size of the file, so that a caller can
 * allocate it.
 *
 * @throws {HfStreamDcpError} `HEADER_INVALID` when no safetensors file of this size begins like that.
 */
export function parseHeaderLength(prefix: Uint8Array, context: HeaderContext): number {
	if (context.fileBytes < HEADER_LENGTH_BYTES || prefix.length < HEADER_LENGTH_BYTES) {
		throw invalidHeader(context, `it has ${context.fileBytes} bytes, too few for a header`);
	}
	const view = new DataView(prefix.buffer, prefix.byteOffset, HEADER_LENGTH_BYTES);
	const length = view.getBigUint64(0, true);
	if (length > BigInt(MAX_HEADER_JSON_BYTES)) {
		throw invalidHeader(
			context,
			`its header claims ${length} bytes, more than the ${MAX_HEADER_JSON_BYTES} that the format allows`,
			hintFromPrefix(prefix),
		);
	}
	if (HEADER_LENGTH_BYTES + Number(length) > context.fileBytes) {
		throw invalidHeader(
			context,
			`its header claims ${length} bytes, but the file has only ${context.fileBytes}`,
			"The file is cut off or is no safetensors file; get it again.",
		);
	}
	return Number(length);
}

function hintFromPrefix(prefix: Uint8Array): string {
	const text = String.fromCharCode(...prefix.subarray(0, HEADER_LENGTH_BYTES));
	if (text === "version ") {
		return "This is a Git LFS pointer instead of the file; run `git lfs pull` in the directory.";
	}
	if (text.startsWith("GGUF"))
		return "This is a GGUF file; use the safetensors files of the model.";
	return "The file is no safetensors file, or is damaged; get it again.";
}

/**
 * Reads the header of a safetensors file, as strictly as safetensors 0.8.0 and a little more.
 *
 * As there: white space around the JSON, unknown fields of a tensor, `"__metadata__": null`, empty names, tensors at odd
 * offsets and files without tensors are accepted; holes, overlaps, bytes behind the last tensor, unknown dtypes, wrong
 * sizes and broken JSON are not. Refused here although accepted there, because one file could then be read in two ways or
 * its numbers would not be exact: a key that is there twice, anywhere; tensors and dtypes in serde's other notations (an
 * array, an object); numbers above 2^53 − 1; more than 64 dimensions.
 *
 * @param bytes - At least the first `headerBytes` of the file; what follows is not looked at.
 * @throws {HfStreamDcpError} `HEADER_INVALID` with the file and, where there is one, the tensor; `DTYPE_UNSUPPORTED` when
 * the header is valid and a tensor has elements smaller than a byte.
 * @see safetensors 0.8.0 `tensor.rs`; its verdicts were compared, case by case
 */
export function parseSafetensorsHeader(
	bytes: Uint8Array,
	context: HeaderContext,
): SafetensorsHeader {
	const length = parseHeaderLength(bytes, context);
	const headerBytes = HEADER_LENGTH_BYTES + length;
	if (bytes.length < headerBytes) {
		throw new RangeError(`${bytes.length} bytes given for a header of ${headerBytes}`);
	}
	const { metadata, tensors } = parseJson(
		bytes.subarray(HEADER_LENGTH_BYTES, headerBytes),
		context,
	);
	tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
	checkCoverage(tensors, context.fileBytes - headerBytes, context);
	return {
		headerBytes,
		metadata,
		tensors: tensors.map((tensor) => toSourceTensor(tensor, headerBytes, context)),
	};
}

function parseJson(
	json: Uint8Array,
	context: HeaderContext,
): { metadata: Map<string, string>; tensors: StoredTensor[] } {
	const metadata = new Map<string, string>();
	const tensors: StoredTensor[] = [];
	let current: string | undefined;
	try {
		const reader = createJsonReader(json);
		readObject(reader, (name) => {
			current = name;
			if (name === "__metadata__") readMetadata(reader, metadata);
			else tensors.push(readTensor(reader, name));
			current = undefined;
		});
		finishJson(reader);
	} catch (error) {
		if (!(error instanceof JsonError)) throw error;
		const problem = `${error.message} (byte ${HEADER_LENGTH_BYTES + error.position})`;
		throw current === undefined
			? invalidHeader(context, problem)
			: invalidMember(context, current, problem);
	}
	return { metadata, tensors };
}

function readMetadata(reader: JsonReader, metadata: Map<string, string>): void {
	if (readNullIf(reader)) return;
	readObject(reader, (key) => metadata.set(key, readString(reader)));
}

function readTensor(reader: JsonReader, name: string): StoredTensor {
	let dtype: string | undefined;
	let shape: Shape | undefined;
	let offsets: readonly number[] | undefined;
	readObject(reader, (field) => {
		if (field === "dtype") dtype = readDtype(reader);
		else if (field === "shape") shape = readNaturals(reader, MAX_DIMENSIONS);
		else if (field === "data_offsets") offsets = readNaturals(reader, 2);
		else skipValue(reader);
	});
	if (dtype === undefined) throw new JsonError("dtype is missing", reader.position);
	if (shape === undefined) throw new JsonError("shape is missing", reader.position);
	if (offsets === undefined) throw new JsonError("data_offsets is missing", reader.position);
	const [begin, end] = offsets;
	if (begin === undefined || end === undefined) {
		throw new JsonError("data_offsets must have two numbers", reader.position);
	}
	return { name, dtype, shape, begin, end };
}

function readDtype(reader: JsonReader): string {
	const dtype = readString(reader);
	if (!isStoredDtype(dtype)) {
		throw new JsonError(`safetensors has no dtype ${quote(dtype)}`, reader.position);
	}
	return dtype;
}

function readNaturals(reader: JsonReader, limit: number): number[] {
	const numbers: number[] = [];
	readArray(reader, () => {
		if (numbers.length === limit) {
			throw new JsonError(`a list has more than ${limit} numbers`, reader.position);
		}
		numbers.push(readNatural(reader));
	});
	return numbers;
}

function toSourceTensor(
	tensor: StoredTensor,
	headerBytes: number,
	{ file }: HeaderContext,
): SourceTensor {
	const { name, shape } = tensor;
	const dtype = dtypeFromSafetensors(tensor.dtype);
	if (dtype === undefined) {
		throw new HfStreamDcpError(
			"DTYPE_UNSUPPORTED",
			`${file}: ${memberName(name)} has dtype ${tensor.dtype}, whose elements are smaller than a byte`,
			{
				hint: "Use a version of the model that is not quantised to it.",
				facts: { file, tensor: name, dtype: tensor.dtype },
			},
		);
	}
	return {
		name,
		dtype,
		shape,
		file,
		begin: headerBytes + tensor.begin,
		end: headerBytes + tensor.end,
	};
}
