import { DTYPES, type Dtype, itemBytes } from "../core/dtype.ts";
import { at, numel, type Shape } from "../core/shape.ts";

/** A tensor of a safetensors file that is to be written. */
export interface FileTensor {
	readonly name: string;
	readonly dtype: Dtype;
	readonly shape: Shape;
}

/** A safetensors file, with everything known but the data. */
export interface ShardFile {
	/** Path in the directory of the model. */
	readonly path: string;
	/** The length field and the JSON: where the data begins. A multiple of 8. */
	readonly header: Uint8Array;
	/** Of the whole file. */
	readonly bytes: number;
	/** In the order of their data. */
	readonly tensors: readonly (FileTensor & {
		/** First byte of its data in the file. */
		readonly begin: number;
	})[];
}

/** Bytes of the data of a tensor. */
export function dataBytes({ dtype, shape }: FileTensor): number {
	return numel(shape) * itemBytes(dtype);
}

/**
 * Lays out a file as the reference implementation does: a header that is padded with blanks to a multiple of 8, and the data without gaps.
 *
 * @param tensors - In the order of their data.
 * @see safetensors 0.8.0 `tensor.rs`, `prepare`
 */
export function layOutFile(path: string, tensors: readonly FileTensor[]): ShardFile {
	let end = 0;
	const entries = tensors.map((tensor) => {
		const begin = end;
		end += dataBytes(tensor);
		const { name, dtype, shape } = tensor;
		const facts = { dtype: DTYPES[dtype].safetensors, shape, data_offsets: [begin, end] };
		return `${JSON.stringify(name)}:${JSON.stringify(facts)}`;
	});
	const json = Buffer.from(`{${['"__metadata__":{"format":"pt"}', ...entries].join(",")}}`);
	const length = Math.ceil(json.length / 8) * 8;
	const header = Buffer.alloc(8 + length, " ");
	header.writeBigUInt64LE(BigInt(length));
	json.copy(header, 8);
	let begin = header.length;
	const placed = tensors.map((tensor) => {
		const own = { ...tensor, begin };
		begin += dataBytes(tensor);
		return own;
	});
	return { path, header, bytes: begin, tensors: placed };
}

/** The order that the reference implementation gives the tensors of a file: large elements first, so that all are aligned; then by name. */
export function inFileOrder<T extends FileTensor>(tensors: readonly T[]): readonly T[] {
	return tensors.toSorted(
		(a, b) => itemBytes(b.dtype) - itemBytes(a.dtype) || (a.name < b.name ? -1 : 1),
	);
}

/**
 * Divides tensors into files of at most `maxBytes` of data, one after the other, as `save_pretrained` does; a larger tensor has a file of
 * its own.
 *
 * @see huggingface_hub 2.4 `serialization/_base.py` `split_state_dict_into_shards_factory`
 */
export function divideBySize<T extends FileTensor>(
	tensors: readonly T[],
	maxBytes: number,
): readonly (readonly T[])[] {
	const groups: T[][] = [];
	let room = 0;
	for (const tensor of tensors) {
		const bytes = dataBytes(tensor);
		if (groups.length === 0 || bytes > room) {
			groups.push([]);
			room = maxBytes;
		}
		at(groups, groups.length - 1).push(tensor);
		room -= bytes;
	}
	return groups;
}

/** How the weights of a model are named. */
export interface WeightNames {
	/** Where they are in the directory of the model: nowhere special, or `transformer/`. */
	readonly folder: string;
	/** `model`, or `diffusion_pytorch_model`. */
	readonly stem: string;
}

const FILE_NAME = /^(?<folder>(?:.*\/)?)(?<stem>[^/]+?)(?:[-_]\d{5,6}-of-\d{5,6})?\.safetensors$/;

/** The names that one of the files follows; `model` for any other. */
export function weightNamesOf(path: string | undefined): WeightNames {
	const { folder = "", stem = "model" } = FILE_NAME.exec(path ?? "")?.groups ?? {};
	return { folder, stem };
}

function five(value: number): string {
	return String(value).padStart(5, "0");
}

/** Path of file `index` of `count`. */
export function shardPath({ folder, stem }: WeightNames, index: number, count: number): string {
	const number = count === 1 ? "" : `-${five(index + 1)}-of-${five(count)}`;
	return `${folder}${stem}${number}.safetensors`;
}

/** Path of the index of the files. */
export function indexPath({ folder, stem }: WeightNames): string {
	return `${folder}${stem}.safetensors.index.json`;
}

/** The index of files, as `save_pretrained` writes it; `undefined` for a single file that a loader finds without. */
export function encodeIndex(
	files: readonly ShardFile[],
	names: WeightNames,
): Uint8Array | undefined {
	if (files.length === 1 && files[0]?.path === shardPath(names, 0, 1)) return undefined;
	const tensors = files.flatMap((file) => file.tensors.map((tensor) => ({ ...tensor, file })));
	const sorted = tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
	const index = {
		metadata: { total_size: tensors.reduce((sum, tensor) => sum + dataBytes(tensor), 0) },
		weight_map: Object.fromEntries(
			sorted.map(({ name, file }) => [name, file.path.slice(names.folder.length)]),
		),
	};
	return Buffer.from(`${JSON.stringify(index, undefined, 2)}\n`);
}
