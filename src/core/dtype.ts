/**
 * Element types, by their torch names without the `torch.` prefix.
 *
 * @see torch 2.13 `torch/serialization.py` and safetensors 0.8 `Dtype`.
 */
export type Dtype =
	| "float64"
	| "float32"
	| "float16"
	| "bfloat16"
	| "int64"
	| "int32"
	| "int16"
	| "int8"
	| "uint64"
	| "uint32"
	| "uint16"
	| "uint8"
	| "bool"
	| "complex64"
	| "float8_e4m3fn"
	| "float8_e5m2"
	| "float8_e4m3fnuz"
	| "float8_e5m2fnuz"
	| "float8_e8m0fnu";

/** What the converter knows of one element type. */
export interface DtypeInfo {
	/** Size of one element in bytes. */
	readonly itemBytes: number;
	/** The name in a safetensors header. */
	readonly safetensors: string;
	/** Whether `--dtype` may cast it. The quantised 8-bit floats are not cast: their values mean nothing without their scales. */
	readonly isFloat: boolean;
}

/** Every element type of at least one byte that safetensors 0.8 can hold and torch 2.13 can load. */
export const DTYPES: { readonly [D in Dtype]: DtypeInfo } = {
	float64: { itemBytes: 8, safetensors: "F64", isFloat: true },
	float32: { itemBytes: 4, safetensors: "F32", isFloat: true },
	float16: { itemBytes: 2, safetensors: "F16", isFloat: true },
	bfloat16: { itemBytes: 2, safetensors: "BF16", isFloat: true },
	int64: { itemBytes: 8, safetensors: "I64", isFloat: false },
	int32: { itemBytes: 4, safetensors: "I32", isFloat: false },
	int16: { itemBytes: 2, safetensors: "I16", isFloat: false },
	int8: { itemBytes: 1, safetensors: "I8", isFloat: false },
	uint64: { itemBytes: 8, safetensors: "U64", isFloat: false },
	uint32: { itemBytes: 4, safetensors: "U32", isFloat: false },
	uint16: { itemBytes: 2, safetensors: "U16", isFloat: false },
	uint8: { itemBytes: 1, safetensors: "U8", isFloat: false },
	bool: { itemBytes: 1, safetensors: "BOOL", isFloat: false },
	complex64: { itemBytes: 8, safetensors: "C64", isFloat: false },
	float8_e4m3fn: { itemBytes: 1, safetensors: "F8_E4M3", isFloat: false },
	float8_e5m2: { itemBytes: 1, safetensors: "F8_E5M2", isFloat: false },
	float8_e4m3fnuz: { itemBytes: 1, safetensors: "F8_E4M3FNUZ", isFloat: false },
	float8_e5m2fnuz: { itemBytes: 1, safetensors: "F8_E5M2FNUZ", isFloat: false },
	float8_e8m0fnu: { itemBytes: 1, safetensors: "F8_E8M0", isFloat: false },
};

/** Size of one element of `dtype`, in bytes. */
export function itemBytes(dtype: Dtype): number {
	return DTYPES[dtype].itemBytes;
}

/** Whether values can be cast from one dtype to the other: floating-point numbers of at least two bytes, but for float64. */
export function isCastable(from: Dtype, to: Dtype): boolean {
	const isCast = (dtype: Dtype): boolean => DTYPES[dtype].isFloat && dtype !== "float64";
	return from === to || (isCast(from) && isCast(to));
}

const BY_SAFETENSORS_NAME: ReadonlyMap<string, Dtype> = new Map(
	(Object.keys(DTYPES) as Dtype[]).map((dtype) => [DTYPES[dtype].safetensors, dtype]),
);

/** The dtype a safetensors header calls `name`, or `undefined` when there is none we can hold. */
export function dtypeFromSafetensors(name: string): Dtype | undefined {
	return BY_SAFETENSORS_NAME.get(name);
}

/** Whether `name` is one of our dtype names. */
export function isDtype(name: string): name is Dtype {
	return Object.hasOwn(DTYPES, name);
}
