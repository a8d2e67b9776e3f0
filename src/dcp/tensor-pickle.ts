import { type Dtype, itemBytes } from "../core/dtype.ts";
import { numel, type Shape } from "../core/shape.ts";
import { OP } from "./pickle-opcodes.ts";
import { PickleWriter } from "./pickle-writer.ts";

/**
 * Storage classes of the dtypes that have one. The others are saved as untyped storage, with their dtype beside it.
 *
 * @see torch 2.13 `torch/storage.py` `_dtype_to_storage_type_map`, `torch/_tensor.py` `_reduce_ex_internal`
 */
export const STORAGE_NAMES: { readonly [D in Dtype]?: string } = {
	float64: "DoubleStorage",
	float32: "FloatStorage",
	float16: "HalfStorage",
	bfloat16: "BFloat16Storage",
	int64: "LongStorage",
	int32: "IntStorage",
	int16: "ShortStorage",
	int8: "CharStorage",
	uint8: "ByteStorage",
	bool: "BoolStorage",
	complex64: "ComplexFloatStorage",
};

/** `data.pkl` of a contiguous CPU tensor that `torch.save` wrote: how to rebuild it from the bytes of record `data/0`. */
export function encodeTensorPickle(dtype: Dtype, shape: Shape): Uint8Array {
	const out = new PickleWriter();
	const storage = STORAGE_NAMES[dtype];
	out.global("torch._utils", storage === undefined ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
	out.op(OP.mark);
	writeStorage(out, storage, numel(shape) * (storage === undefined ? itemBytes(dtype) : 1));
	out.int(0);
	writeSizes(out, shape);
	writeSizes(out, stridesOf(shape));
	out.op(OP.newfalse);
	out.global("collections", "OrderedDict");
	out.op(OP.emptyTuple);
	out.op(OP.reduce);
	out.memoize();
	if (storage === undefined) out.global("torch", dtype);
	out.op(OP.tuple);
	out.memoize();
	out.op(OP.reduce);
	out.memoize();
	return out.finish();
}

/** A persistent id: torch looks the storage up by its key `0`. Its length counts elements, or bytes when it is untyped. */
function writeStorage(out: PickleWriter, name: string | undefined, length: number): void {
	out.op(OP.mark);
	out.string("storage");
	if (name === undefined) out.global("torch.storage", "UntypedStorage");
	else out.global("torch", name);
	out.string("0");
	out.string("cpu");
	out.int(length);
	out.op(OP.tuple);
	out.memoize();
	out.op(OP.binpersid);
}

function writeSizes(out: PickleWriter, sizes: Shape): void {
	out.intTuple(sizes);
	// Python has one empty tuple, which its pickler does not remember.
	if (sizes.length > 0) out.memoize();
}

/** Strides of a new tensor: a dimension of size 0 counts as 1. */
function stridesOf(shape: Shape): number[] {
	let stride = 1;
	return shape
		.toReversed()
		.map((size) => {
			const own = stride;
			stride *= Math.max(size, 1);
			return own;
		})
		.toReversed();
}
